"""EmbeddingModel: turns text into vectors.

May import kinds' own files, stages' options and foundation. What answers is the role `embed`.
"""
