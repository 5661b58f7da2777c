"""Chooses a precision by measurement: the fastest with nearly unchanged ranking of golden questions and batch-independent vectors."""

import logging
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import CorruptDataError
from headrace.models.embedding_checkpoint import EmbeddingCheckpoint
from headrace.models.onnx.prepare import GRAPH, Figures, Precision, Prepared
from headrace.models.onnx.session import OnnxEmbedder, open_graph

MAX_LOSS = 0.005
"""How far nDCG@10 may drop."""
MAX_DEPENDENCE = 1e-3
"""1 − cosine between a text's vector alone and in a batch: rounding changes it by less, a scale shared by the batch by more."""
MIN_GAIN = 1.1
"""A coarser precision must be this much faster than the finest to be worthwhile."""
INT8_GRAPH = "model.int8.onnx"
_DEPTH = 10
_ROUNDS = 3


class GoldenQuestion(msgspec.Struct, frozen=True):
    """A question with its relevant documents."""

    text: str
    relevant: dict[str, float]


class Golden(msgspec.Struct, frozen=True):
    """Documents by id, and questions about them."""

    documents: dict[str, str]
    questions: list[GoldenQuestion]


def read_golden(path: Path | None) -> Golden:
    """Headrace's own set, or a file in the same format. CorruptDataError."""
    data = path.read_bytes() if path else files(__package__ or "").joinpath("golden.json").read_bytes()
    try:
        golden = msgspec.json.decode(data, type=Golden)
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"the file does not parse: {error}", where=str(path or "golden.json")) from error
    if not golden.documents or not golden.questions:
        raise CorruptDataError("the file has no documents or no questions", where=str(path or "golden.json"))
    return golden


def choose(
    checkpoint: EmbeddingCheckpoint, folder: Path, threads: int, golden: Path | None, progress: Callable[[str], None]
) -> Prepared:
    """Measures every precision that this processor supports and picks the fastest that passes."""
    questions = read_golden(golden)
    graphs: dict[str, str] = {"fp32": GRAPH}
    if _has_bfloat16():
        graphs["bf16"] = GRAPH
    if quantise(folder / GRAPH, folder / INT8_GRAPH):
        graphs["int8"] = INT8_GRAPH
    figures: dict[str, Figures] = {}
    for precision, graph in graphs.items():
        progress(f"measuring {precision}")
        figures[precision] = measure(checkpoint, folder / graph, precision, threads, questions)
    finest = figures["fp32"]
    judged = {name: msgspec.structs.replace(one, rejected=objection(one, finest)) for name, one in figures.items()}
    judged["fp32"] = finest
    passed = [name for name in judged if not judged[name].rejected]
    best = max(passed, key=lambda name: judged[name].texts_per_second if name != "fp32" else 0.0)
    return Prepared(
        folder, checkpoint.digest, checkpoint.dimension, checkpoint.max_tokens, _precision(best), graphs, judged
    )


def _precision(name: str) -> Precision:
    return "int8" if name == "int8" else "bf16" if name == "bf16" else "fp32"


def objection(one: Figures, finest: Figures) -> str:
    """Why a precision is ruled out; '': nothing rules it out."""
    if one.ndcg < finest.ndcg - MAX_LOSS:
        return f"nDCG@10 drops by {finest.ndcg - one.ndcg:.4f}"
    if one.batch_dependence > MAX_DEPENDENCE:
        return f"a text's vector depends on its batch, by {one.batch_dependence:.4f}"
    if one.texts_per_second < MIN_GAIN * finest.texts_per_second:
        return f"its speed is only {one.texts_per_second / finest.texts_per_second:.2f}×"
    return ""


def measure(checkpoint: EmbeddingCheckpoint, graph: Path, precision: str, threads: int, golden: Golden) -> Figures:
    """One precision on the golden set."""
    embedder = open_graph(checkpoint, graph, _precision(precision), threads)
    names, texts = list(golden.documents), list(golden.documents.values())
    embedder.embed(texts[:4])
    times: list[float] = []
    documents = np.zeros((0, embedder.dimension), np.float32)
    for _ in range(_ROUNDS):
        embedder.forget()
        started = SYSTEM_CLOCK.monotonic()
        documents = embedder.embed(texts)
        times.append(SYSTEM_CLOCK.monotonic() - started)
    asked = embedder.embed([one.text for one in golden.questions])
    ranked = np.argsort(-(asked @ documents.T), axis=1, kind="stable")
    scores = [
        _ndcg([names[place] for place in row[:_DEPTH]], one.relevant)
        for row, one in zip(ranked, golden.questions, strict=True)
    ]
    return Figures(
        round(float(np.mean(scores)), 4), round(len(texts) / min(times), 1), round(batch_dependence(embedder, texts), 6)
    )


def batch_dependence(embedder: OnnxEmbedder, texts: list[str]) -> float:
    """The largest change of a vector between computing it alone and in a batch: 1 − cosine."""
    embedder.forget()
    together = embedder.embed(texts)
    worst = 0.0
    for place in range(0, len(texts), 4):
        embedder.forget()
        alone = embedder.embed([texts[place]])[0]
        worst = max(worst, 1.0 - float(alone @ together[place]))
    return worst


def _ndcg(ranked: list[str], relevant: Mapping[str, float]) -> float:
    """Normalised discounted cumulative gain: Järvelin & Kekäläinen 2002."""
    gain = sum(relevant.get(name, 0.0) / math.log2(place + 2) for place, name in enumerate(ranked))
    best = sorted(relevant.values(), reverse=True)[:_DEPTH]
    return gain / sum(value / math.log2(place + 2) for place, value in enumerate(best))


def _has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively; emulated, it would be slower than float32."""
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


def quantise(graph: Path, target: Path) -> bool:
    """Eight-bit weights in blocks, with activations scaled per row: a text's vector depends on no other. False: not possible here."""
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    logging.getLogger(matmul_nbits_quantizer.__name__).setLevel(logging.ERROR)  # it logs every node
    settings = DefaultWeightOnlyQuantConfig(block_size=128, is_symmetric=True, accuracy_level=4, bits=8)
    quantizer: Any = MatMulNBitsQuantizer(onnx.load(str(graph)), algo_config=settings)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))
    return target.is_file()
