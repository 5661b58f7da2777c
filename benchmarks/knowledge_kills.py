"""Kills an indexing run again and again, for real, and holds what it leaves against the plain definition.

    python benchmarks/knowledge_kills.py [--kills 200] [--store sqlite|postgres] [--seed 0]

A process indexes changing documents; SIGKILL to its group comes at a random moment of its work. Now and then the topic's newest rows
come once more, versions come late, and twice the size of chunks changes, so that generations are built beside the live changes. In
the end every document, tombstone, interval, chunk and vector must be what the definition says, each dead letter must be there once,
and nothing whose vector had been kept may have been embedded again. Exit code 1 where anything differs.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from headrace.testing.index_kills import Killing, Order
from headrace.testing.postgres_server import postgres_server


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="headrace-kills-") as folder,
        postgres_server(durable=True) if options.store == "postgres" else nullcontext() as server,
    ):
        order = Order(Path(folder) / "state", Path(folder) / "journal", options.store, server.url() if server else "")
        killing = Killing(order, options.seed)
        killing.kill(options.kills)
        found = killing.finish()
    print(
        f"{options.store}: {found.kills} kills of a process group at random moments of an indexing run, seed {options.seed}"
    )
    print(found.summary())
    print(f"took {time.monotonic() - started:.0f} s")
    print("\n".join(found.differences[:20]) or "the store equals the definition; every dead letter is there once")
    return 1 if found.differences or found.embedded_though_kept else 0


if __name__ == "__main__":
    sys.exit(main())
