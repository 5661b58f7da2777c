"""An answer's text as its tokens arrive: whole characters, no part of a stop sequence, and in total the same as decoding everything."""

from collections.abc import Callable, Sequence

_TORN = "\ufffd"
"""What decoders output for bytes that do not form a whole character yet."""
_WINDOW = 48
"""Maximum tokens decoded together; a token's text depends on far fewer predecessors."""
_OVERLAP = 8


class AnswerText:
    """Takes tokens, returns text."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._anchor = 0
        """Where decoding starts; tokens before it are final."""
        self._settled = 0
        """Tokens whose text has been decoded."""
        self._known = ""
        """Text of the tokens from the anchor to `_settled`."""
        self._held = ""
        """Decoded but held back: it may be the start of a stop sequence."""

    def push(self, token: int) -> tuple[str, bool]:
        """The text that is now final, and whether a stop sequence has ended the answer (its text is not returned)."""
        self._ids.append(token)
        window = self._decode(self._ids[self._anchor :])
        if window.endswith(_TORN) and len(self._ids) - self._settled < _OVERLAP:
            return "", False
        return self._give(self._read(window))

    def finish(self) -> str:
        """The text held back, incomplete characters included; nothing after a stop sequence."""
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
    """Characters at the end of `text` that could start `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
