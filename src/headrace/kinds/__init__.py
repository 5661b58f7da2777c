"""The resources that a user declares: one folder per kind: its spec with docs, its checks, what a change costs, the stages it needs.

May import everything but control and doors. Reads YAML into typed data with every mistake of every file in one pass; never starts,
connects or writes anything.
"""
