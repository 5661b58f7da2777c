"""BaseModel: the small model that learns and is served.

May import kinds' own files, foundation and stages' options. Looks at local files only; never downloads.
"""
