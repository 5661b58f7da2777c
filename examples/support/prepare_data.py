"""Makes the demo's stream and its recorded labels from BANKING77's training file.

    python prepare_data.py banking77-train.csv

Writes `data/banking77-20.jsonl.gz` (what streams in: no answers in it) and `data/banking77-20-labels.csv.gz` (what the
example teacher knows). The same input gives the same bytes.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

INTENTS = 20
ORDER_SALT = "headrace-support-1"
START = datetime(2025, 1, 6, 9, 0, 0, tzinfo=UTC)
DATA = Path(__file__).parent / "data"


def main() -> None:
    """Reads the CSV named on the command line and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path, help="BANKING77's train.csv, with the columns text and category")
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    questions = shuffled(most_frequent(read(args.csv)))
    args.out.mkdir(parents=True, exist_ok=True)
    write_gzip(args.out / "banking77-20.jsonl.gz", stream(questions))
    write_gzip(args.out / "banking77-20-labels.csv.gz", labels(questions))
    print(f"{len(questions)} questions of {INTENTS} intents in {args.out}")


def read(path: Path) -> list[tuple[str, str]]:
    """(question, intent) of each line; white space made single, intents in lower case without punctuation."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(" ".join(line["text"].split()), line["category"].lower().rstrip("?")) for line in csv.DictReader(file)]


def most_frequent(questions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the INTENTS intents that have most questions."""
    kept = {intent for intent, _ in Counter(intent for _, intent in questions).most_common(INTENTS)}
    return [question for question in questions if question[1] in kept]


def shuffled(questions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A fixed random order: by hash, so that it depends on no library's generator."""
    return sorted(questions, key=lambda question: hashlib.sha256(f"{ORDER_SALT}\0{question[0]}".encode()).digest())


def stream(questions: list[tuple[str, str]]) -> str:
    """One JSON object a line: id, event_time (synthetic: one second after the other), text."""
    lines: list[str] = []
    for number, (text, _) in enumerate(questions):
        at = (START + timedelta(seconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines.append(json.dumps({"id": f"q{number + 1:04d}", "event_time": at, "text": text}, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def labels(questions: list[tuple[str, str]]) -> str:
    """CSV of text and intent, in the stream's order."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["text", "intent"])
    writer.writerows(questions)
    return buffer.getvalue()


def write_gzip(path: Path, text: str) -> None:
    """Without name and time in the header, so that the bytes depend on the text alone."""
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
