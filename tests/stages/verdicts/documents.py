"""Fields of a folder of documents as a source."""

import json
import os
from typing import Any

from fpdf import FPDF

from headrace.events.dead_letter import DeadLetter

from .case import Case, Setting
from .house import House

LEFT_ALONE = (1_600_000_000, 1_600_000_000)
"""Nobody writes these files any more."""
SPEC: dict[str, Any] = {"type": "documents", "documents": {"path": "docs"}}


def _put(house: House, name: str, content: bytes) -> None:
    path = house.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, LEFT_ALONE)


def _page(house: House) -> None:
    for folder in ("docs", "other"):
        _put(house, f"{folder}/{folder}{house.fed}.md", b"Text.")
        _put(house, f"{folder}/{folder}{house.fed}.txt", b"Text.")


def _large(house: House) -> None:
    _put(house, f"docs/{house.fed}.md", b"x" * 100)


def _pages(house: House) -> None:
    document = FPDF()
    document.set_font("helvetica")
    for _ in range(3):
        document.add_page()
        document.cell(text="Text.")
    _put(house, f"docs/{house.fed}.pdf", bytes(document.output()))


def _tags(house: House) -> None:
    _put(house, f"docs/{house.fed}.html", b"<p>ab</p>" * 20_000)


def _late(house: House) -> None:
    """One more is there once the folder was read."""
    _put(house, f"docs/late{house.fed}.md", b"Text.")


def _paths(house: House) -> list[str]:
    rows = [json.loads(one.value) for one in house.rows("in.events")]
    return [f"{'-' if row['operation'] == 'delete' else ''}{row['path']}" for row in rows]


def _outcome(house: House) -> tuple[list[str], list[str]]:
    return _paths(house), [one.code for one in house.decoded("in.dead", DeadLetter)]


def _open(waits: float = 0.0, meanwhile: Any = None) -> Any:
    return lambda folder, _: House(folder, {"StreamConnector/in": SPEC}, waits=waits, meanwhile=meanwhile)


FOLDER = Setting(_open(), _page)
GROWING = Setting(_open(waits=10.0, meanwhile=_late), _large)
FIRST = ["docs0.md", "docs0.txt"]


def _case(
    path: str, value: Any, see: Any, before: Any, after: Any, setting: Setting = FOLDER, given: Any = None
) -> Case:
    place = f"documents.{path}"
    return Case("StreamConnector", place, setting, {place: value}, see, before, after, {} if given is None else {place: given}, variant="source/documents")  # fmt: skip


CASES = (
    _case("path", "other", _paths, FIRST, lambda was, now: sorted(now[2:]) == ["-docs0.md", "-docs0.txt", "other0.md", "other0.txt", "other1.md", "other1.txt"]),
    _case("glob", "*.txt", _paths, FIRST, [*FIRST, "-docs0.md", "docs1.txt"]),
    _case("follow", True, _paths, ["0.md"], ["0.md", "1.md", "late1.md", "late2.md"], GROWING, given=False),
    _case("pollInterval", "1s", _paths, ["0.md"], ["0.md", "1.md", "late1.md", "late2.md"], GROWING, given="1h"),
    _case("maxBytes", "1kB", _outcome, ([], ["too_long"]), (["1.md"], ["too_long"]), Setting(_open(), _large), given="50"),
    _case("maxPages", 3, _outcome, ([], ["too_long"]), (["1.pdf"], ["too_long"]), Setting(_open(), _pages), given=2),
    _case("timeout", "30s", _outcome, ([], ["too_slow"]), (["1.html"], ["too_slow"]), Setting(_open(), _tags), given="1ms"),
)  # fmt: skip
