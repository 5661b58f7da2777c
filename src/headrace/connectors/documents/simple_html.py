"""HTML → Markdown in one pass, in linear time, whatever the page contains."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_SKIPPED = frozenset(
    {"script", "style", "nav", "footer", "aside", "noscript", "template", "svg", "button", "iframe", "select"}
)
_BLOCKS = frozenset(
    {
        "p",
        "div",
        "section",
        "article",
        "main",
        "header",
        "ul",
        "ol",
        "dl",
        "dt",
        "dd",
        "blockquote",
        "figure",
        "table",
        "hr",
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_VOID = frozenset(
    {"br", "hr", "img", "input", "meta", "link", "wbr", "col", "source", "area", "base", "embed", "track"}
)


@dataclass(slots=True)
class SimplePage:
    """A page's contents."""

    title: str = ""
    body: str = ""
    meta: dict[str, str] = field(default_factory=dict[str, str])


def simple_markdown(text: str) -> SimplePage:
    """Headings, paragraphs, lists, tables and code in order; menus, footers and scripts are dropped."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.page()


class _Reader(HTMLParser):
    """Collects blocks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[str] = []
        self._words: list[str] = []
        self._prefix = ""
        self._skipping = 0
        self._title: list[str] = []
        self._in_title = False
        self._meta: dict[str, str] = {}
        self._cells: list[str] | None = None
        self._rows = 0
        self._code = False

    def page(self) -> SimplePage:
        self._end_block()
        return SimplePage(" ".join("".join(self._title).split()), "\n".join(self._blocks).strip() + "\n", self._meta)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self._skipping:
            self._in_title = True
        elif tag == "meta":
            self._note(dict(attrs))
        elif tag in _SKIPPED:
            self._skipping += 1
        elif not self._skipping:
            self._open(tag)

    def _note(self, attributes: dict[str, str | None]) -> None:
        name, content = attributes.get("name"), attributes.get("content")
        if name and content:
            self._meta.setdefault(name.lower(), content)

    def _open(self, tag: str) -> None:
        if tag == "br":
            self._words.append("\n" if self._code else " ")
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "tr":
            self._end_block()
            self._cells = []
        elif tag == "pre":
            self._end_block()
            self._code = True
        elif tag in _BLOCKS or tag in _HEADINGS or tag == "li":
            if self._cells is None:
                self._end_block()
            self._rows = 0 if tag == "table" else self._rows
            self._prefix = "#" * _HEADINGS[tag] + " " if tag in _HEADINGS else "- " if tag == "li" else self._prefix

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif self._skipping or tag in _VOID:
            return
        elif tag == "tr" and self._cells is not None:
            self._end_row()
        elif tag == "pre" and self._code:
            self._end_code()
        elif self._cells is None and (tag in _BLOCKS or tag in _HEADINGS or tag == "li"):
            self._end_block()
            self._prefix = ""

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif not self._skipping:
            self._words.append(data)

    def _taken(self) -> str:
        text = " ".join("".join(self._words).split())
        self._words.clear()
        return text

    def _end_block(self) -> None:
        if self._cells is not None:
            self._end_row()
        if self._code:
            self._end_code()
        text = self._taken()
        if text:
            self._blocks += [self._prefix + text, ""]
            self._prefix = ""

    def _end_cell(self) -> None:
        if self._cells is None:
            self._cells = []
        text = self._taken()
        if text:
            self._cells.append(text.replace("|", "\\|"))

    def _end_row(self) -> None:
        self._end_cell()
        cells, self._cells = self._cells or [], None
        if not cells:
            return
        if self._rows and self._blocks and not self._blocks[-1]:
            self._blocks.pop()
        self._blocks.append("| " + " | ".join(cells) + " |")
        if not self._rows:
            self._blocks.append("|" + " --- |" * len(cells))
        self._blocks.append("")
        self._rows += 1

    def _end_code(self) -> None:
        text = "".join(self._words).strip("\n")
        self._words.clear()
        self._code = False
        if text.strip():
            self._blocks += ["```", text, "```", ""]
