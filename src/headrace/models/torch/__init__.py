"""What needs PyTorch once, in a process of its own: the export of embedding models.

May import models' own files, foundation, torch, transformers and onnx. Never imported by a process that serves or indexes.
"""
