"""MegaModel: the large teacher that writes grounded answers.

May import kinds' own files, the teachers' option models and stages' options. Never calls a provider.
"""
