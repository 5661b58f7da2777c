"""Text → blocks to keep whole: headings, paragraphs, lists, tables, code fences."""

import re
from dataclasses import dataclass

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_MAX_LINES = 200
"""A block with more lines is split into lines: it does not fit into a chunk anyway."""


@dataclass(frozen=True, slots=True)
class Block:
    """A slice of the text without trailing whitespace."""

    start: int
    end: int
    level: int = 0
    """A heading's level, 1 to 6; otherwise 0."""
    title: str = ""
    """A heading's title."""


def blocks_of(text: str, media: str) -> list[Block]:
    """The blocks in order, with only whitespace between them. `media`: markdown, or plain, which has only paragraphs."""
    scan = _Scan(markdown=media == "markdown")
    at = 0
    for line in text.splitlines(keepends=True):
        scan.line(at, line)
        at += len(line)
    scan.finish()
    return scan.blocks


class _Scan:
    """Walks through the lines once."""

    def __init__(self, *, markdown: bool) -> None:
        self.blocks: list[Block] = []
        self._markdown = markdown
        self._lines: list[tuple[int, int]] = []
        """Where the open block's lines begin and end."""
        self._fence = ""
        self._words = ""
        """The open block's line while it has only one: the title if an underline follows."""

    def line(self, at: int, line: str) -> None:
        text = line.rstrip()
        if not self._markdown:
            self._plain(at, text)
        elif self._fence:
            self._add(at, text)
            if text.strip().startswith(self._fence) and not text.strip().strip(self._fence[0]):
                self._fence = ""
                self.finish()
        else:
            self._structured(at, text)

    def _plain(self, at: int, text: str) -> None:
        if text:
            self._add(at, text)
        else:
            self.finish()

    def _structured(self, at: int, text: str) -> None:
        if not text:
            self.finish()
        elif (fence := _FENCE.fullmatch(text)) and not (fence[1][0] == "`" and "`" in fence[2]):
            self.finish()
            self._fence = fence[1]
            self._add(at, text)
        elif heading := _HEADING.fullmatch(text):
            self.finish()
            self.blocks.append(Block(at, at + len(text), len(heading[1]), (heading[2] or "").strip()))
        elif len(self._lines) == 1 and self._words and (underline := _UNDERLINE.fullmatch(text)):
            level = 1 if underline[1][0] == "=" else 2
            self.blocks.append(Block(self._lines[0][0], at + len(text), level, self._words))
            self._lines = []
        else:
            self._add(at, text)

    def _add(self, at: int, text: str) -> None:
        words = text.strip()
        self._words = words if not self._lines and words[:1] not in {"|", "-", "*", "+", ">"} else ""
        if text:
            self._lines.append((at, at + len(text)))

    def finish(self) -> None:
        """Closes the open block."""
        lines, self._lines = self._lines, []
        if len(lines) > _MAX_LINES:
            self.blocks += [Block(start, end) for start, end in lines]
        elif lines:
            self.blocks.append(Block(lines[0][0], lines[-1][1]))
