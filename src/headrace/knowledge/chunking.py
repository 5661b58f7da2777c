"""A document → chunks that follow its structure.

Blocks stay whole if they fit. Once a chunk is reasonably full, it ends before a heading; if the next heading is
out of reach, it ends before the block with the smallest hash, so that chunks after an edit realign with the old borders.
A block that is too long is split at the best place that `semantic-text-splitter` finds in it: rows, sentences, words.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from headrace.foundation.ids import derive_id
from headrace.knowledge.analysis import ANALYSIS, term_counts
from headrace.knowledge.markdown_blocks import blocks_of
from headrace.knowledge.revision import Chunk
from headrace.knowledge.token_counts import TokenCounter, counts_of

CHUNKER = "blocks/1"
SPECIAL_TOKENS = 2
"""Tokens that a model adds around a text."""
_ENOUGH_OF_A_SECTION = 0.2
"""Fraction of its size that a chunk fills before it may end at a heading; the last chunk of a longer section always ends there."""
_ENOUGH = 0.4
"""Fraction of its size that a chunk fills before it may end elsewhere."""
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+(?=\S)|\n+(?=\S)")
_WORD = re.compile(r"\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How documents are chunked."""

    max_tokens: int = 200
    """Longest chunk including its headings, in the embedder's tokens; never more than the embedder reads."""
    overlap: int = 20
    """Maximum tokens that neighbouring chunks of a section share."""


def chunker_name(options: ChunkOptions, fingerprint: str) -> str:
    """Everything that determines a document's chunks and terms, as canonical JSON. `fingerprint`: the embedder's."""
    parts = {
        "analysis": ANALYSIS, "chunker": CHUNKER, "maxTokens": options.max_tokens, "overlap": options.overlap,
        "tokens": fingerprint,
    }  # fmt: skip
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def chunk(text: str, media: str, title: str, options: ChunkOptions, counter: TokenCounter) -> tuple[Chunk, ...]:
    """The chunks in order: every character of the text is in one, and none exceeds the token limit.

    `media`: markdown or plain. A whitespace-only text has no chunks. Linear time.
    """
    limit = max(1, min(options.max_tokens, counter.max_tokens - SPECIAL_TOKENS))
    return _Cut(text, media, title.strip(), limit, min(options.overlap, limit // 2), counter).chunks()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block, or a part of one that was too long."""

    start: int
    end: int
    tokens: int
    headings: tuple[str, ...] = ()
    level: int = 0
    title: str = ""
    whole: bool = True
    """Whether it starts at the start of a block."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A chunk with and without its overlap with the previous one."""

    own: Chunk
    overlapping: Chunk


class _Cut:
    """One document."""

    def __init__(self, text: str, media: str, title: str, limit: int, overlap: int, counter: TokenCounter) -> None:
        self._text, self._media, self._title = text, media, title
        self._limit, self._overlap = limit, overlap
        self._counter, self._counts = counter, counts_of(counter)
        self._heading_tokens: dict[tuple[str, ...], int] = {(): 0}

    def chunks(self) -> tuple[Chunk, ...]:
        pieces = self._pieces()
        groups = self._groups(pieces)
        drafts = self._checked(
            [self._draft(group, before) for group, before in zip(groups, [None, *groups], strict=False)]
        )
        return tuple(replace(one, index=index, terms=term_counts(one.embedded)) for index, one in enumerate(drafts))

    # -- pieces

    def _pieces(self) -> list[_Piece]:
        blocks = blocks_of(self._text, self._media)
        counts = self._roughly([self._text[block.start : block.end] for block in blocks])
        pieces: list[_Piece] = []
        path: list[tuple[int, str]] = []
        for block, tokens in zip(blocks, counts, strict=True):
            if block.level:
                path = [entry for entry in path if entry[0] < block.level]
            headings = self._shortened(path)
            room = self._limit - self._heading_tokens[headings]
            whole = _Piece(block.start, block.end, tokens, headings, block.level, block.title)
            pieces += [whole] if tokens <= room else self._split(whole, max(1, room - self._overlap))
            if block.level:
                path = [*path, (block.level, block.title)]
        return pieces

    def _shortened(self, path: Sequence[tuple[int, str]]) -> tuple[str, ...]:
        """The headings above it, starting with the document's title; drops the outermost ones if they would fill half a chunk."""
        titles = tuple(title for _, title in path if title)
        if self._title and not (titles and titles[0].casefold() == self._title.casefold()):
            titles = (self._title, *titles)
        while titles and self._tokens_of(titles) > self._limit / 2:
            titles = titles[1:]
        return titles

    def _tokens_of(self, titles: tuple[str, ...]) -> int:
        if titles not in self._heading_tokens:
            self._heading_tokens[titles] = self._count(" > ".join(titles))
        return self._heading_tokens[titles]

    def _split(self, piece: _Piece, room: int) -> list[_Piece]:
        """Parts of a block that is too long, of even length if there are few."""
        few = -(-piece.tokens // room)
        least = min(room, -(-piece.tokens // few)) if few <= 3 else room
        splitter = MarkdownSplitter if self._media == "markdown" else TextSplitter
        text = self._text[piece.start : piece.end]
        parts = splitter.from_callback(self._rough_size, (least, room)).chunk_indices(text)
        counts = self._roughly([part for _, part in parts])
        return [
            replace(piece, start=piece.start + at, end=piece.start + at + len(part), tokens=tokens, whole=at == 0)
            for (at, part), tokens in zip(parts, counts, strict=True)
        ]

    def _roughly(self, texts: Sequence[str]) -> list[int]:
        return self._counts.roughly(self._counter, texts)

    def _rough_size(self, text: str) -> int:
        return self._counts.roughly(self._counter, [text])[0]

    def _count(self, text: str) -> int:
        return self._counts.exactly(self._counter, [text])[0]

    # -- groups

    def _groups(self, pieces: Sequence[_Piece]) -> list[list[_Piece]]:
        groups: list[list[_Piece]] = []
        first = 0
        while first < len(pieces):
            last = self._end(pieces, first)
            groups.append(list(pieces[first:last]))
            first = last
        return groups

    def _end(self, pieces: Sequence[_Piece], first: int) -> int:
        """Where the chunk that begins with `first` ends."""
        headings = pieces[first].headings
        room = (
            self._limit - self._heading_tokens[headings] - (self._overlap if first and not pieces[first].level else 0)
        )
        least = room * _ENOUGH_OF_A_SECTION if pieces[first].level else 0
        used, end = pieces[first].tokens, first + 1
        borders: list[int] = []
        while end < len(pieces):
            glued = bool(pieces[end - 1].level)
            if pieces[end].level and not glued and used >= least:
                return end
            if used >= room * _ENOUGH and not glued:
                borders.append(end)
            if used + pieces[end].tokens > room:
                break
            used += pieces[end].tokens
            end += 1
        else:
            return end
        return self._best(pieces, first, borders, end)

    def _best(self, pieces: Sequence[_Piece], first: int, borders: Sequence[int], end: int) -> int:
        """Of the possible borders, the one that any neighbour would choose too; a heading stays with what follows it."""
        choices = [border for border in borders if pieces[border].whole] or list(borders)
        if choices:
            return min(choices, key=lambda border: self._rank(pieces[border]))
        while end - 1 > first and pieces[end - 1].level:
            end -= 1
        return end

    def _rank(self, piece: _Piece) -> tuple[str, int]:
        return derive_id(self._text[piece.start : piece.end]), piece.start

    # -- chunks

    def _draft(self, group: Sequence[_Piece], before: Sequence[_Piece] | None) -> _Draft:
        first = group[0]
        headings = first.headings
        if first.level and headings[:1] and first.title.casefold() == headings[0].casefold():
            headings = headings[1:]
        own = Chunk(0, self._text[first.start : group[-1].end], headings, first.start)
        if before is None or first.level or not self._overlap:
            return _Draft(own, own)
        lowest = max([before[0].start, *(piece.end for piece in before if piece.level)])
        start = self._overlapping(lowest, own.start, words=not first.whole and not own.text.startswith("|"))
        return _Draft(own, replace(own, text=self._text[start : own.start] + own.text, start=start))

    def _overlapping(self, lowest: int, start: int, *, words: bool) -> int:
        """The earliest start of a sentence, otherwise of a word, from which at most `overlap` tokens lead up to `start`.

        `words`: the chunk begins inside a paragraph, so half a sentence of overlap is better than none.
        """
        floor = max(lowest, start - self._overlap * 12)
        tail = self._text[floor:start]
        for pattern in (_SENTENCE, _WORD) if words else (_SENTENCE,):
            places = [floor + match.end() for match in pattern.finditer(tail) if match.end() < len(tail)]
            counts = self._roughly([self._text[place:start] for place in places])
            fitting = [place for place, tokens in zip(places, counts, strict=True) if 0 < tokens <= self._overlap]
            if fitting:
                return fitting[0]
        return start

    def _checked(self, drafts: Sequence[_Draft]) -> list[Chunk]:
        """Tokens of parts need not add up to the tokens of the whole: splits again what turned out too long."""
        counts = self._counts.exactly(self._counter, [draft.overlapping.embedded for draft in drafts])
        checked: list[Chunk] = []
        for draft, tokens in zip(drafts, counts, strict=True):
            behind = not checked or checked[-1].start <= draft.overlapping.start
            if tokens <= self._limit and behind:
                checked.append(draft.overlapping)
            elif self._count(draft.own.embedded) <= self._limit:
                checked.append(draft.own)
            else:
                checked += self._recut(draft.own)
        return checked

    def _recut(self, draft: Chunk) -> list[Chunk]:
        def size(part: str) -> int:
            return self._count(replace(draft, text=part).embedded)

        parts = TextSplitter.from_callback(size, self._limit).chunk_indices(draft.text)
        return [replace(draft, text=part, start=draft.start + at) for at, part in parts]
