"""Runs an exported embedding model: texts sorted by length, batches bounded by their padded tokens, vectors cached."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headrace.foundation.ids import derive_id
from headrace.models.embedder import Vectors
from headrace.models.embedding_checkpoint import EmbeddingCheckpoint
from headrace.models.onnx.prepare import Precision, read_prepared

PADDED_TOKENS = 512
"""Per batch, so that its activations fit in a core's cache; 4,096 made fp32 a third slower, 256 made bf16 a tenth slower."""
REMEMBERED = 10_000
"""Cached vectors of the most recent texts."""
MAX_CHARACTERS_PER_TOKEN = 64
"""A text is truncated here before it is tokenized: no model reads a megabyte."""

Tokens = NDArray[np.int64]


class Runner(Protocol):
    """One compiled graph. Called by one thread at a time."""

    def __call__(self, ids: Tokens, mask: Tokens) -> Vectors:
        """[texts, tokens] twice → [texts, dimension]."""
        ...


def open_runner(graph: Path, precision: Precision, threads: int) -> Runner:
    """fp32 and int8 run in ONNX Runtime, bf16 in OpenVINO, which uses the processor's native bfloat16."""
    return _openvino(graph, threads) if precision == "bf16" else _onnxruntime(graph, threads)


def _onnxruntime(graph: Path, threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def run(ids: Tokens, mask: Tokens) -> Vectors:
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return run


def _openvino(graph: Path, threads: int) -> Runner:
    import openvino

    core: Any = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(str(graph)), "CPU", settings).create_infer_request()

    def run(ids: Tokens, mask: Tokens) -> Vectors:
        request.infer({"input_ids": ids, "attention_mask": mask})
        return np.array(request.get_output_tensor(0).data, np.float32)

    return run


class OnnxEmbedder:
    """An Embedder over one graph."""

    def __init__(
        self, run: Runner, tokenizer: Tokenizer, *, fingerprint: str, dimension: int, max_tokens: int, pad: int
    ) -> None:
        self._run, self._tokenizer = run, tokenizer
        self._fingerprint, self._dimension, self._max_tokens, self._pad = fingerprint, dimension, max_tokens, pad
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Vectors:
        with self._lock:
            keys = [derive_id("text", text) for text in texts]
            found = {key: self._known[key] for key in keys if key in self._known}
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
            if progress and len(missing) < len(keys):
                progress(len(keys) - len(missing))
            found |= self._compute(missing, progress, len(keys) - len(missing))
            vectors = np.empty((len(texts), self._dimension), np.float32)
            for place, key in enumerate(keys):
                vectors[place] = found[key]
            return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(one.ids) for one in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def close(self) -> None:
        """Does nothing: it holds only memory."""

    def forget(self) -> None:
        """Drops the cached vectors."""
        with self._lock:
            self._known.clear()

    def _compute(self, texts: dict[str, str], progress: Callable[[int], None] | None, done: int) -> dict[str, Vectors]:
        keys = list(texts)
        cut = self._max_tokens * MAX_CHARACTERS_PER_TOKEN
        encoded = [one.ids for one in self._tokenizer.encode_batch([texts[key][:cut] for key in keys])]
        encoded = [self._shortened(ids) for ids in encoded]
        computed: dict[str, Vectors] = {}
        for batch in _batches([len(ids) for ids in encoded]):
            vectors = self._run(*self._padded([encoded[place] for place in batch]))
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            for place, vector in zip(batch, vectors.astype(np.float32), strict=True):
                computed[keys[place]] = vector
            done += len(batch)
            if progress:
                progress(done)
        self._remember(computed)
        return computed

    def _shortened(self, ids: list[int]) -> list[int]:
        """Keeps its last token, which ends a text."""
        return ids if len(ids) <= self._max_tokens else [*ids[: self._max_tokens - 1], ids[-1]]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tokens, Tokens]:
        longest = max(1, *(len(row) for row in rows))
        ids = np.full((len(rows), longest), self._pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        mask[:, 0] = 1
        return ids, mask

    def _remember(self, computed: dict[str, Vectors]) -> None:
        for key, vector in computed.items():
            self._known[key] = vector
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of texts of similar length, longest last, each batch of at most `PADDED_TOKENS`."""
    batches: list[list[int]] = []
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if batch and (len(batch) + 1) * lengths[place] > PADDED_TOKENS:
            batches.append(batch)
            batch = []
        batch.append(place)
    return [*batches, batch] if batch else batches


def open_graph(
    checkpoint: EmbeddingCheckpoint, graph: Path, precision: Precision, threads: int, fingerprint: str = ""
) -> OnnxEmbedder:
    """One graph with its tokenizer."""
    tokenizer = Tokenizer.from_file(str(graph.parent / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return OnnxEmbedder(
        open_runner(graph, precision, threads), tokenizer, fingerprint=fingerprint, dimension=checkpoint.dimension,
        max_tokens=checkpoint.max_tokens, pad=tokenizer.token_to_id("[PAD]") or 0,
    )  # fmt: skip


def open_embedder(folder: Path, *, threads: int = 1, precision: Precision | None = None) -> OnnxEmbedder:
    """The model in a prepared folder, at the chosen precision unless another is named. CorruptDataError, NotFoundError."""
    prepared = read_prepared(folder)
    chosen = precision or prepared.precision
    checkpoint = EmbeddingCheckpoint(folder, "mean", True, prepared.max_tokens, prepared.dimension, prepared.digest)
    return open_graph(checkpoint, folder / prepared.graphs[chosen], chosen, threads, prepared.fingerprint_of(chosen))
