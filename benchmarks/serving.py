"""Tokens per second of a 10 M Llama, greedy, against transformers' generate, in one run. `python benchmarks/serving.py`.

Both sides use the same checkpoint, prompts and threads; runs alternate and the best of each counts, so that a busy
moment of the machine hurts neither. Answers must be equal wherever the two best logits differ by more than 1e-4.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROMPT_TOKENS, NEW_TOKENS, CLIENTS = 64, 128, 16
TARGETS = {1: 2.0, CLIENTS: 1.25}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)  # read when numpy and torch are imported, below
    with tempfile.TemporaryDirectory() as folder:
        result = compare(_checkpoint(Path(folder) / "v1"), options.threads, options.rounds)
    json.dump(result, sys.stdout, indent=2)
    print()
    missed = [row for row in result["clients"] if row["ratio"] < row["target"] or not row["equal"]]
    sys.exit(1 if missed else 0)


def compare(checkpoint: Path, threads: int, rounds: int) -> dict:
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from headrace.serving.engines import engine_for

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    theirs = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    engine = engine_for(checkpoint)
    ours = engine.load(checkpoint)
    prompts = np.random.default_rng(0).integers(8, ours.vocabulary_size, (CLIENTS, PROMPT_TOKENS))
    rows = []
    for clients in (1, CLIENTS):
        asked = prompts[:clients]
        written = {"headrace": _headrace(ours, asked), "transformers": _transformers(theirs, asked)}
        best = _best_seconds(
            {"headrace": lambda a=asked: _headrace(ours, a), "transformers": lambda a=asked: _transformers(theirs, a)},
            rounds,
        )
        speed = {name: clients * NEW_TOKENS / seconds for name, seconds in best.items()}
        rows.append(
            {
                "clients": clients,
                "tokens_per_second": {name: round(value) for name, value in speed.items()},
                "ratio": round(speed["headrace"] / speed["transformers"], 2),
                "target": TARGETS[clients],
                "equal": _equal(theirs, asked, written["headrace"]),
                "same_tokens": float((written["headrace"] == written["transformers"]).mean()),
            }
        )
    parameters = sum(weight.numel() for weight in theirs.parameters())
    return {"engine": engine.name, "parameters": parameters, "threads": threads, "clients": rows}


def _best_seconds(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return {name: min(values) for name, values in seconds.items()}


def _headrace(model, prompts):
    """Through `VersionBatch`, as a replica does, text included."""
    import numpy as np

    from headrace.serving.generation import GenerationRequest
    from headrace.serving.version_batch import VersionBatch

    class Ids:
        def decode(self, ids):
            return "".join(f"{token} " for token in ids)

    batch, said = VersionBatch(model, Ids()), {}
    for index, prompt in enumerate(prompts.tolist()):
        batch.join(GenerationRequest(str(index), tuple(prompt), max_tokens=NEW_TOKENS))
    while len(batch):
        for step in batch.step():
            said[step.request_id] = said.get(step.request_id, "") + step.text
    return np.array([[int(token) for token in said[str(index)].split()] for index in range(len(prompts))])


def _transformers(model, prompts):
    import torch

    ids = torch.tensor(prompts)
    with torch.inference_mode():
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None,
            pad_token_id=0,
        )  # fmt: skip
    return output[:, prompts.shape[1] :].numpy()


def _equal(model, prompts, written) -> bool:
    """Whether every token is transformers' own choice, given those before it, where that choice is clear."""
    import numpy as np
    import torch

    ids = torch.tensor(np.concatenate([prompts, written], axis=1))
    with torch.inference_mode():
        logits = model(ids).logits[:, prompts.shape[1] - 1 : -1]
    best = logits.topk(2, dim=-1)
    clear = (best.values[..., 0] - best.values[..., 1]) > 1e-4
    return bool((torch.tensor(written)[clear] == best.indices[..., 0][clear]).all())


def _checkpoint(path: Path) -> Path:
    """10 M parameters, vocabulary filled, weights large enough that answers vary."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    from headrace.models.tiny import new_checkpoint

    words = [
        f"w{first}{second}{third}"
        for first in "abcdefghijklmnop"
        for second in "abcdefghijklmnop"
        for third in "abcdefghijklmnop"
    ]
    new_checkpoint(path, size="10m", text=words)
    weights = load_file(path / "model.safetensors")
    spread = {name: value * np.float32(3) if value.ndim == 2 else value for name, value in weights.items()}
    save_file(spread, path / "model.safetensors", metadata={"format": "pt"})
    return path


if __name__ == "__main__":
    main()
