"""What a BaseModel's fields must be together."""

import math
from collections.abc import Callable, Iterator

from headrace.foundation.quantities import parse_cpu, parse_memory
from headrace.kinds.document import Plain
from headrace.kinds.kind import Draft, World
from headrace.kinds.problem import Problem


def check(draft: Draft, _world: World) -> Iterator[Problem]:
    """The weights come from somewhere."""
    yield from check_serving_info(draft, "baseModelServingInfo")
    yield from check_resources(draft, "baseModelServingTemplate")


def check_serving_info(draft: Draft, block: str) -> Iterator[Problem]:
    """A Hugging Face id or a path."""
    info = draft.given(block)
    if isinstance(info, dict) and info.get("hfModelId") is None and info.get("path") is None:
        yield Problem(
            (block,),
            "names no weights",
            ("hfModelId", "path"),
            hint="Set a Hugging Face id or the path of a checkpoint folder.",
            of_key=True,
        )
    name = draft.text(block, "hfModelId")
    if name and (name.count("/") > 1 or name.startswith((".", "/", "~"))):
        yield Problem(
            (block, "hfModelId"),
            f"{name!r} is not a Hugging Face id (OWNER/NAME)",
            hint="Write a folder under `path`.",
        )


def check_resources(draft: Draft, block: str) -> Iterator[Problem]:
    """A request is no more than its limit."""
    yield from requests_within_limits(draft, (block, "resourceRequest"), (block, "resourceLimit"))


def requests_within_limits(draft: Draft, requests: tuple[str, ...], limits: tuple[str, ...]) -> Iterator[Problem]:
    """For cpu, memory and gpu; what does not parse is another mistake."""
    for key, parse in _QUANTITIES.items():
        request, limit = draft.given(*requests, key), draft.given(*limits, key)
        if _number(parse, request, 0.0) > _number(parse, limit, math.inf):
            yield Problem((*requests, key), f"asks for {request}, more than its limit of {limit}")


def _number(parse: Callable[[str], float], value: Plain, default: float) -> float:
    try:
        return default if value is None else parse(str(value))
    except ValueError:
        return default


_QUANTITIES: dict[str, Callable[[str], float]] = {"cpu": parse_cpu, "memory": parse_memory, "gpu": float}
