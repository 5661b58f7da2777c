"""Where people and programs come in: the command line, HTTP, the live view.

May import everything. Loading returns typed data and never prints; rendering prints and never loads.
"""
