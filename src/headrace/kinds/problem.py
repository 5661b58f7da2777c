"""What a check found."""

from dataclasses import dataclass

from headrace.kinds.document import Location


@dataclass(frozen=True, slots=True)
class Problem:
    """What a check found, at a location below `spec` (or the whole document's, where `of_document`)."""

    location: Location
    message: str
    valid: tuple[str, ...] = ()
    near: str | None = None
    hint: str | None = None
    of_key: bool = False
    """The key itself is wrong, not its value."""
    warning: bool = False
    """It does not prevent running."""
    text_line: int | None = None
    """Which line of the text at the location it is about, from 1, where the text has several."""
