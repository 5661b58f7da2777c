"""KnowledgeBase: documents kept searchable as they change.

May import kinds' own files, stages' options and foundation. What keeps it is the role `index`.
"""
