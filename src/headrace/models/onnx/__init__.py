"""Embedding models as ONNX graphs: exported once, their precision chosen by measuring, run by ONNX Runtime or OpenVINO.

May import models' own files, foundation, onnxruntime, openvino and onnx. Never torch: the export is a process of its own.
"""

from headrace.models.onnx.prepare import Prepared, prepare, read_prepared
from headrace.models.onnx.session import open_embedder

__all__ = ["Prepared", "open_embedder", "prepare", "read_prepared"]
