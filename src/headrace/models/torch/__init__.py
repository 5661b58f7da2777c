"""One-off work that needs PyTorch, in its own process: exporting embedding models.

May import models' own files, foundation, torch, transformers and onnx. Never imported by a process that serves or indexes.
"""
