"""Embedding models as ONNX graphs: exported once, their precision chosen by measurement, run by ONNX Runtime or OpenVINO.

May import models' own files, foundation, onnxruntime, openvino and onnx. Never torch: the export runs in its own process.
"""

from headrace.models.onnx.prepare import Prepared, prepare, read_prepared
from headrace.models.onnx.session import open_embedder

__all__ = ["Prepared", "open_embedder", "prepare", "read_prepared"]
