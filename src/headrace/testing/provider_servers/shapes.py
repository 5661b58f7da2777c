"""Checks of request bodies that the protocols share."""

from collections.abc import Collection, Mapping
from typing import Any

Problem = str | None


def unknown_keys(body: Mapping[str, Any], known: Collection[str]) -> Problem:
    unknown = sorted(set(body) - set(known))
    return f"unknown parameter: {unknown[0]}" if unknown else None


def whole_number(body: Mapping[str, Any], name: str, *, needed: bool = False) -> Problem:
    value = body.get(name)
    if value is None and not needed:
        return None
    good = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return None if good else f"{name}: must be a whole number above 0"


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> Problem:
    value = body.get(name)
    if value is None or (isinstance(value, int | float) and low <= value <= high):
        return None
    return f"{name}: must lie between {low:g} and {high:g}"


def chat(messages: object, roles: Collection[str], *, alternating: bool = False) -> Problem:
    """A non-empty list of {role, content: text}; `alternating`: begins with the user."""
    if not isinstance(messages, list) or not messages:
        return "messages: must be a list with at least one message"
    turns: list[Any] = messages
    for turn in turns:
        if not isinstance(turn, Mapping) or set(turn) != {"role", "content"}:
            return "messages: each must have role and content"
        if turn["role"] not in roles:
            return f"messages: unexpected role {turn['role']!r}"
        if not isinstance(turn["content"], str) or not turn["content"]:
            return "messages: content must be text that is not empty"
    if alternating and turns[0]["role"] != "user":
        return "messages: first message must use the user role"
    return None


def words(value: object) -> int:
    """A count of tokens that is good enough for a test: words in all texts of a body."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, Mapping):
        return sum(words(item) for name, item in value.items() if name in {"content", "text", "parts"})
    if isinstance(value, list):
        return sum(words(item) for item in value)
    return 0
