"""The resources that a user declares: one folder per kind: its spec with docs, its checks, when a change of a field acts, the stages it needs.

May import everything but control and doors. Reads YAML into typed data with every mistake of every file in one pass; never starts,
connects or writes anything. A kind's folder holds `spec.py` (pydantic models, one line of doc beneath each field), `checks.py` (what
fields must be together), `changes.py` (what changing each costs) and `stages.py` (translation into stages' options); `registry.py`
lists the kinds, and `python -m headrace.kinds.generate` writes their schemas and reference pages.
"""
