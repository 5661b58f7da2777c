"""Says what is wrong with a query: the place in its text, the reason, and the form that works."""

import difflib
from collections.abc import Iterable

from sqlglot import exp

from headrace.foundation.errors import InvalidQueryError


def refuse(sql: str, node: exp.Expr | None, reason: str, form: str | None = None) -> InvalidQueryError:
    """The error to raise for `node` of the query `sql`."""
    return InvalidQueryError(reason, where=place_of(sql, node), next_step=form)


def place_of(sql: str, node: exp.Expr | None) -> str:
    """`line 2, column 7` of the first token under `node` whose place is known, else of the nearest one around it."""
    while node is not None:
        starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
        if starts:
            return place_at(sql, min(starts))
        node = node.parent
    return "line 1, column 1"


def place_at(sql: str, offset: int) -> str:
    """The place of a character."""
    before = sql[:offset]
    return f"line {before.count(chr(10)) + 1}, column {offset - before.rfind(chr(10))}"


def nearest(name: str, valid: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where no name comes near."""
    known = {one.lower(): one for one in valid}
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f" (did you mean {known[close[0]]}?)" if close else ""
