"""An answer's text as its tokens arrive: no torn characters, nothing of a stop sequence, and in sum what decoding all gives."""

from collections.abc import Callable, Sequence

_TORN = "\ufffd"
"""What decoders write for bytes that are not a whole character yet."""
_WINDOW = 48
"""Tokens decoded together at most; the text of a token depends on far fewer before it."""
_OVERLAP = 8


class AnswerText:
    """Feed tokens, take text."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._anchor = 0
        """Where decoding begins; tokens before it are settled."""
        self._settled = 0
        """Tokens whose text has been read."""
        self._known = ""
        """Text of the tokens from the anchor to `_settled`."""
        self._held = ""
        """Read, but not given: it may be the beginning of a stop sequence."""

    def push(self, token: int) -> tuple[str, bool]:
        """The text that is certain now, and whether a stop sequence has ended the answer (its text is not given)."""
        self._ids.append(token)
        window = self._decode(self._ids[self._anchor :])
        if window.endswith(_TORN) and len(self._ids) - self._settled < _OVERLAP:
            return "", False
        return self._give(self._read(window))

    def finish(self) -> str:
        """What was held back, torn characters included; nothing after a stop sequence."""
        text, stopped = self._give(self._read(self._decode(self._ids[self._anchor :])))
        rest = "" if stopped else self._held
        self._held = ""
        return text + rest

    def _read(self, window: str) -> str:
        fresh = window[len(self._known) :]
        self._known, self._settled = window, len(self._ids)
        if self._settled - self._anchor > _WINDOW:
            self._anchor = self._settled - _OVERLAP
            self._known = self._decode(self._ids[self._anchor :])
        return fresh

    def _give(self, fresh: str) -> tuple[str, bool]:
        text = self._held + fresh
        found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` that begin `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
