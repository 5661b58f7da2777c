"""What the suite runs in a process of its own, to kill it: `python -m … TECHNOLOGY NAME STATE [URL]`.

Each batch replaces every document of a set by its next version, so that a reader sees one number everywhere.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

from headrace.foundation.failpoints import arm_from_environment
from headrace.knowledge.store import StoreBatch, StoreOptions
from headrace.testing.knowledge_conformance.builders import batch, revision
from headrace.testing.knowledge_conformance.place import open_technology
from headrace.testing.resource_ids import knowledge_base_id

DOCUMENTS = 6


def turn(number: int) -> StoreBatch:
    """The batch of a number: every document says it, twice."""
    revisions = [
        revision(f"d{n}", number + 1, f"number {number} of {n}\n\nnumber {number} again, in {n}")
        for n in range(DOCUMENTS)
    ]
    made = batch(*revisions, offsets=(max(0, number - 1) * DOCUMENTS, (number + 1) * DOCUMENTS))
    return StoreBatch(made.revisions, made.offsets, made.vectors, {"turn": b"%d" % number})


def write_for_ever(technology: str, options: StoreOptions) -> None:
    """Continues from what is committed, after repeating the last batch."""
    arm_from_environment()
    with closing(open_technology(technology, options)) as store:
        epoch = store.acquire("child")
        done = store.state("turn")
        for number in count(int(done) if done is not None else 0):
            made = turn(number)
            for model, vectors in made.vectors.items():
                store.keep_vectors(epoch, model, vectors)
            store.apply(epoch, made)


def main(arguments: Sequence[str]) -> None:
    technology, name, state, url = arguments
    write_for_ever(technology, StoreOptions(knowledge_base_id(name, "ns"), Path(state), url))


if __name__ == "__main__":
    main(sys.argv[1:])
