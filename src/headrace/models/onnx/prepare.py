"""Exports a checkpoint once and chooses its precision; the resulting folder contains everything needed to open it."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from headrace.foundation.errors import CorruptDataError, FinalError, NotFoundError
from headrace.foundation.failpoints import failpoint
from headrace.models.embedding_checkpoint import EmbeddingCheckpoint, read_checkpoint

Precision = Literal["fp32", "bf16", "int8"]
NOTE = "prepared.json"
GRAPH = "model.onnx"
FORMAT = 1


class Figures(msgspec.Struct, frozen=True):
    """One precision's measurements."""

    ndcg: float
    """nDCG@10 on the golden set."""
    texts_per_second: float
    batch_dependence: float
    """The largest change of a text's vector with its batch: 1 − cosine."""
    rejected: str = ""
    """Why it was not chosen; '': it was, or was not needed."""


class Prepared(msgspec.Struct, frozen=True):
    """A model that can be opened."""

    folder: Path
    digest: str
    dimension: int
    max_tokens: int
    precision: Precision
    graphs: dict[str, str]
    """File by precision."""
    figures: dict[str, Figures] = {}
    """By precision."""
    version: int = FORMAT

    @property
    def fingerprint(self) -> str:
        return self.fingerprint_of(self.precision)

    def fingerprint_of(self, precision: Precision) -> str:
        """Equal vectors have equal fingerprints."""
        return f"{self.digest}-{precision}"


def read_prepared(folder: Path) -> Prepared:
    """NotFoundError if it does not exist, CorruptDataError if it is incomplete."""
    path = folder / NOTE
    if not path.is_file():
        raise NotFoundError(
            f"{folder} has no exported model",
            next_step="Restart `headrace up`: the embedding model's process then exports it again.",
        )
    try:
        values = msgspec.json.decode(path.read_bytes())
        return msgspec.convert({**values, "folder": str(folder)}, Prepared, dec_hook=_decode)
    except (msgspec.MsgspecError, TypeError) as error:
        raise CorruptDataError(f"the file does not parse: {error}", where=str(path)) from error


def prepare(
    folder: Path,
    store: Path,
    *,
    threads: int = 1,
    golden: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """A checkpoint's exported model: created on first request with these questions, then reused.

    `store`: the folder of all exported models; `golden`: questions with graded answers, default Headrace's own. NotFoundError,
    CorruptDataError; FinalError if the export fails.
    """
    checkpoint = read_checkpoint(folder)
    name = _name(checkpoint, golden)
    target = store / name
    store.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(store / f"{name}.lock"):
        if (target / NOTE).is_file():
            return read_prepared(target)
        making = store / f".{name}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        progress("exporting the model to ONNX")
        _export(checkpoint, making / GRAPH)
        shutil.copy(folder / "tokenizer.json", making / "tokenizer.json")
        prepared = _choose(checkpoint, making, threads, golden, progress)
        _write(making / NOTE, prepared)
        failpoint("embedder.prepared.before")
        shutil.rmtree(target, ignore_errors=True)
        making.rename(target)
        failpoint("embedder.prepared.after")
        return read_prepared(target)


def _name(checkpoint: EmbeddingCheckpoint, golden: Path | None) -> str:
    """Other questions may choose another precision, so they are part of the name. NotFoundError: the file does not exist."""
    if golden is None:
        return checkpoint.digest
    if not golden.is_file():
        raise NotFoundError(
            f"the file {golden} does not exist", next_step="Put the golden queries there or remove goldenQueries."
        )
    return f"{checkpoint.digest}-{hashlib.sha256(golden.read_bytes()).hexdigest()[:12]}"


def _choose(
    checkpoint: EmbeddingCheckpoint, making: Path, threads: int, golden: Path | None, progress: Callable[[str], None]
) -> Prepared:
    from headrace.models.onnx.precision import choose

    return choose(checkpoint, making, threads, golden, progress)


def _export(checkpoint: EmbeddingCheckpoint, target: Path) -> None:
    command = [sys.executable, "-m", "headrace.models.torch.export_embedder", str(checkpoint.folder), str(target)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode or not target.is_file():
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise FinalError(
            f"{checkpoint.folder} could not be exported to ONNX: {last}",
            next_step="use an encoder whose architecture transformers supports natively",
        )


def _write(path: Path, prepared: Prepared) -> None:
    values = {key: value for key, value in msgspec.to_builtins(prepared, enc_hook=str).items() if key != "folder"}
    values["fingerprint"] = prepared.fingerprint
    path.write_bytes(msgspec.json.format(msgspec.json.encode(values), indent=2))


def _decode(kind: type, value: object) -> object:
    return Path(str(value)) if kind is Path else value


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Several replicas start at once, and only one of them exports."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
