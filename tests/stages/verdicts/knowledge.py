"""Fields of a knowledge base and of a model that embeds for it. The model is a service over real HTTP whose vectors are made of words."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from headrace.events.prompt import Prompt
from headrace.knowledge.query import AsOf, Hit
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.serve.options import SearchDoor
from headrace.testing.embedding_server import EmbeddingServer
from headrace.testing.word_embedder import WordEmbedder

from .case import Case, Feed, Setting
from .house import House
from .learners import DESK, SPEC

BASE, WORDS, OTHER = "KnowledgeBase/facts", "EmbeddingModel/words", "EmbeddingModel/other"
COLUMNS = ("path", "key", "body", "alt", "title", "head", "fee", "operation", "did", "media", "kind", "since", "then")
TIMES = ("since", "then")
DOCUMENTS: dict[str, Any] = {
    "type": "file", "file": {"path": "docs.jsonl", "format": "json", "follow": True},
    "schema": [
        *({"name": name, "type": "TIMESTAMP_LTZ(3)" if name in TIMES else "STRING"} for name in COLUMNS),
        {"name": "low", "type": "BIGINT"}, {"name": "high", "type": "BIGINT"},
    ],
}  # fmt: skip


class Service(EmbeddingServer):
    """Its vectors are as long as `length` says."""

    def __init__(self) -> None:
        self.length = 64
        super().__init__(lambda model, texts: WordEmbedder(self.length, name=model).embed(texts))


def _open(*, desk: bool = False, waits: float = 0.0) -> Any:
    """`desk`: a finetuner's prompts are filled from it."""

    def opened(folder: Path, base: Path) -> House:
        services = [Service(), Service()]
        info = {"modelProvider": "OPENAI", "url": services[0].url, "model": "words", "apikey": "sk-first"}
        docs: dict[str, Any] = {
            BASE: {
                "embeddingModel": "words",
                "dataSource": {"sourceStreamConnector": "docs"},
                "retrieval": {"mode": "keyword"},
            },
            WORDS: {"embeddingModelName": "named", "embeddingModelServingInfo": info},
            OTHER: {"embeddingModelServingInfo": {**info, "url": services[1].url, "model": "other"}},
            "StreamConnector/docs": DOCUMENTS,
            "StreamConnector/others": {**DOCUMENTS, "file": {**DOCUMENTS["file"], "path": "others.jsonl"}},
        }
        if desk:
            docs = {DESK: _desk(), "BaseModel/tiny": {"baseModelServingInfo": {"path": str(base)}}, "StreamConnector/in": _ROWS, **docs,
                    "KnowledgeBase/rules": {**docs[BASE], "dataSource": {"sourceStreamConnector": "others"}}}  # fmt: skip
        kinds = frozenset({"ingest", "transform", "index", "prompt"})
        house = House(folder, docs, kinds=kinds, waits=waits, ends=[one.end for one in services])
        house.extra["services"] = services
        return house

    return opened


_ROWS: dict[str, Any] = {
    "type": "file", "file": {"path": "in.jsonl", "format": "json", "follow": True},
    "schema": [{"name": "text", "type": "STRING"}, {"name": "team", "type": "STRING"}],
}  # fmt: skip


def _desk() -> dict[str, Any]:
    info = {**SPEC["finetunerInfo"], "knowledgeBase": "facts"}
    return {**SPEC, "finetunerInfo": info, "promptTemplate": [{"userQuestion": "{knowledge} {text}"}]}


def _document(house: House, file: str = "docs", **values: Any) -> None:
    """As the n-th run finds it: every column names it."""
    n = house.fed
    known = {
        "path": f"{file}{n}", "key": f"key{n}", "body": f"apple {file} {n}", "alt": f"alt apple {n}", "title": f"Title {n}", "head": f"Head {n}",
        "fee": "two", "media": "markdown", "kind": "plain", "since": "2001-01-01T00:00:00Z", "then": "2010-01-01T00:00:00Z",
        "low": n, "high": n,
    }  # fmt: skip
    house.write(f"{file}.jsonl", [json.dumps({**known, **values})])


def feed(house: House) -> None:
    _document(house)
    _document(house, "others")


def _same(house: House) -> None:
    """Another version of one document, whose two version columns run in opposite directions."""
    _document(house, path="one", body=f"apple {house.fed}", low=house.fed, high=-house.fed)
    _document(house, "others")


def _deletes(house: House) -> None:
    """One that `did` says is deleted."""
    _document(house, did="delete")
    _document(house, "others")


def _headings(house: House) -> None:
    _document(house, body="\n\n".join(f"# {name}\n\nAn apple {'and another ' * 10}." for name in ("First", "Second")))
    _document(house, "others")


def _long(house: House) -> None:
    _document(house, body=" ".join(f"apple{number} word word word." for number in range(30)))
    _document(house, "others")


def _edits(house: House) -> None:
    """A document that is edited in each run."""
    _document(house, path="one", body=f"apple {house.fed}")
    _document(house, "others")


def _view(house: House) -> KnowledgeView:
    [door] = [one for one in house.topology().options(SearchDoor) if one.knowledge.id.name == "facts"]
    return KnowledgeView(door.knowledge, house.settings.state, house.clock)


def hits(house: House, question: str = "apple", *, limit: int | None = 50, as_of: AsOf | None = None) -> list[Hit]:
    """Of the door at which it is searched, in the order of the documents' names."""
    view = _view(house)
    try:
        return sorted(view.search(question, limit=limit, as_of=as_of).hits, key=lambda one: (one.document, one.chunk))
    finally:
        view.close()


def documents(house: House) -> list[str]:
    return [one.document for one in hits(house)]


def generation(house: House) -> str:
    view = _view(house)
    try:
        return view.generation
    finally:
        view.close()


def _said(house: House) -> str:
    return house.conditions("index")["Fresh"].message.rpartition("; ")[2]


def _asked(house: House) -> list[Prompt]:
    return house.decoded("desk.prompts", Prompt)


def _base(
    path: str,
    value: Any,
    see: Any,
    before: Any,
    after: Any,
    feeding: Feed = feed,
    given: Any = None,
    at: str = "",
    **more: Any,
) -> Case:
    return Case(
        "KnowledgeBase",
        path,
        Setting(_open(**more), feeding),
        {path: value},
        see,
        before,
        after,
        {} if given is None else {at or path: given},
        of=BASE,
    )


def _another(was: Any, now: Any) -> bool:
    return bool(now) and now != was


def _as_of(moment: str) -> Any:
    """Documents that were true then."""
    at = AsOf(int(datetime.fromisoformat(moment).timestamp() * 1000), "event")
    return lambda house: [one.document for one in hits(house, as_of=at)]


def _first_version(house: House) -> list[str]:
    """What a question finds as of the first minute."""
    moment = house.extra.setdefault("first", house.clock.now_ms())
    house.clock.advance(7_200)
    return [one.text for one in hits(house, as_of=AsOf(moment))]


BASES = (
    _base("embeddingModel", "other", generation, None, _another),
    _base("dataSource.sourceStreamConnector", "others", documents, ["docs0"], ["others0", "others1"]),
    _base("document.id", "key", documents, ["docs0"], ["key0", "key1"]),
    _base("document.text", "alt", lambda h: [one.text for one in hits(h)], ["apple docs 0"], ["apple docs 0", "alt apple 1"]),
    _base("document.title", "head", lambda h: [one.title for one in hits(h)], ["Title 0"], ["Title 0", "Head 1"]),
    _base("document.metadata", ["fee"], lambda h: [dict(one.metadata) for one in hits(h)], [{}], [{}, {"fee": "two"}]),
    _base("document.version", "high", lambda h: [one.text for one in hits(h)], ["apple 0"], ["apple 0"], _same, "low"),
    _base("document.validFrom", "then", _as_of("2005-01-01T00:00:00+00:00"), ["docs0"], ["docs0"], given="since"),
    _base("document.operation", "did", documents, ["docs0"], ["docs0"], _deletes),
    _base("document.media", "kind", lambda h: [one.text[:1] for one in hits(h)], ["#", "#"], ["#", "#", "#", "A"], _headings, {"maxTokens": 30, "overlap": 0}, "chunking"),
    _base("chunking.maxTokens", 25, lambda h: (generation(h), len(hits(h, "word"))), None, lambda was, now: now[0] != was[0] and now[1] > 3 * was[1], _long),
    _base("chunking.overlap", 0, generation, None, _another),
    _base("retrieval.mode", "vector", lambda h: len(hits(h, "pear")), 0, 2),
    _base("retrieval.limit", 1, lambda h: len(hits(h, limit=None)), 1, 1),
    _base("freshness.target", "5s", _said, "the target is 2 s", "the target is 5 s", waits=20.0),
    _base("freshness.history", "1s", _first_version, None, lambda was, now: len(was) == 1 and now == [], _edits, waits=3_700.0),
)  # fmt: skip


def _model(path: str, value: Any, see: Any, before: Any, after: Any, given: dict[str, Any] | None = None) -> Case:
    change: Any = value if callable(value) else {path: value}
    return Case("EmbeddingModel", path, Setting(_open(), feed), change, see, before, after, given or {}, of=WORDS)


def _shorter(house: House) -> dict[str, Any]:
    """The service has changed, too."""
    house.extra["services"][0].length = 32
    return {"embeddingModelServingInfo.dimension": 32}


def _to_second(house: House) -> dict[str, Any]:
    return {"embeddingModelServingInfo.url": house.extra["services"][1].url}


MODELS = (
    _model("embeddingModelName", "renamed", generation, None, _another, {"embeddingModelServingInfo.model": None}),
    _model("embeddingModelServingInfo.url", _to_second, generation, None, _another),
    _model("embeddingModelServingInfo.model", "third", generation, None, _another),
    _model("embeddingModelServingInfo.dimension", _shorter, generation, None, _another, {"embeddingModelServingInfo.dimension": 64}),
    _model("embeddingModelServingInfo.apikey", "sk-second", lambda h: set(h.extra["services"][0].logins), {"Bearer sk-first"}, {"Bearer sk-first", "Bearer sk-second"}),
)  # fmt: skip


def _questions(house: House) -> None:
    """Documents are there before the rows that ask for them."""
    for file in ("docs", "others"):
        _document(house, file, path=f"{file}{house.fed}a")
        _document(house, file, path=f"{file}{house.fed}b")


def _then_asks(house: House) -> None:
    house.clock.advance(1.0)
    house.write("in.jsonl", [json.dumps({"text": f"apple {house.runs}", "team": "cards"})])


def _grounded(path: str, change: dict[str, Any], see: Any, before: Any, after: Any) -> Case:
    def opened(folder: Path, base: Path) -> House:
        house = _open(desk=True)(folder, base)
        house.meanwhile = _then_asks
        (folder / "in.jsonl").touch()
        return house

    return Case("StreamFinetuner", path, Setting(opened, _questions), change, see, before, after)


_BLOCK = "finetunerTemplate.preProcessing"
GROUNDED = (
    _grounded("finetunerInfo.knowledgeBase", {"finetunerInfo.knowledgeBase": "rules"}, lambda h: [one.passages[0].document[:4] for one in _asked(h)], ["docs"], ["docs", "othe"]),
    _grounded(f"{_BLOCK}.knowledgeSearchLimit", {f"{_BLOCK}.knowledgeSearchLimit": 1}, lambda h: [len(one.passages) for one in _asked(h)], [2], [2, 1]),
    _grounded("preProcessing.knowledgeSearchLimit", {"finetunerTemplate": {}, "preProcessing": {"knowledgeSearchLimit": 1}}, lambda h: [len(one.passages) for one in _asked(h)], [2], [2, 1]),
)  # fmt: skip
CASES = (*BASES, *MODELS, *GROUNDED)
