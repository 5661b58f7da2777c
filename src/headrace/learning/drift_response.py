"""The response when the learner's score drops: reask, and drop outdated examples (SEMANTICS §5)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from headrace.events.decision import Decision
from headrace.learning.anchors import AnchorSet
from headrace.learning.fresh import Fresh
from headrace.learning.reask import Reasker
from headrace.learning.replay import ReplayBuffer
from headrace.learning.stale import changed_share, stale
from headrace.learning.tokenizing import Tokenizing

REASKED = 64
"""How many buffered prompts to reask."""
ANCHORS_REASKED = 128


@dataclass(frozen=True, slots=True)
class DriftResponse:
    """The outcome."""

    decision: Decision
    labels_changed: bool


def spread(items: Sequence[Fresh], count: int) -> list[Fresh]:
    """`count` items, newest first, spread evenly over the distinct answers, so that each kind of answer is sampled."""
    by_answer: dict[str, list[Fresh]] = defaultdict(list)
    for item in reversed(items):
        by_answer[item.answer].append(item)
    chosen: list[Fresh] = []
    depth = 0
    while len(chosen) < min(count, len(items)):
        chosen += [group[depth] for group in by_answer.values() if depth < len(group)]
        depth += 1
    return chosen[:count]


def respond(
    offset: int, replay: ReplayBuffer, anchors: AnchorSet, reasker: Reasker, tokenizing: Tokenizing
) -> DriftResponse:
    """Reasks within the budget; drops stale examples from replay and updates the anchors' answers."""
    if not reasker.can_ask:
        reason = "the score fell; without a teacher to reask, replay is kept and the learning rate warms up again"
        return DriftResponse(Decision("drift", "learner", reason, offset, offset), labels_changed=False)
    asked = spread(replay.items, REASKED) + spread(anchors.items(), ANCHORS_REASKED)
    answers = reasker.reask(asked, offset)
    known = [item for item in asked if item.example_id in answers]
    share = changed_share([item.answer for item in known], [answers[item.example_id] for item in known])
    gone = stale([*replay.items, *anchors.items()], answers)
    before = anchors.version
    unlearnable = _answer_anchors(anchors, answers, reasker, tokenizing)
    anchors.discard(lambda item: item.example_id in unlearnable or _stale_unasked(item, gone, answers))
    dropped = replay.discard(lambda item: item.example_id in gone)
    what = (
        f"{share:.0%} of {len(known)} answers changed; dropped {dropped} replayed examples"
        if gone
        else f"none of {len(known)} answers changed: the inputs shifted"
    )
    decision = Decision(
        "drift", "learner", f"the score fell; reasked, {what}", offset, offset, anchor_version=anchors.version,
        details={"asked": len(asked), "answered": len(known), "changedShare": round(share, 4), "dropped": dropped, "anchorVersionBefore": before},
    )  # fmt: skip
    return DriftResponse(decision, labels_changed=bool(gone))


def _stale_unasked(item: Fresh, gone: frozenset[str], answers: Mapping[str, str]) -> bool:
    return item.example_id in gone and item.example_id not in answers


def _answer_anchors(
    anchors: AnchorSet, answers: Mapping[str, str], reasker: Reasker, tokenizing: Tokenizing
) -> frozenset[str]:
    """Updates the reasked anchors' answers; returns the ids of those that cannot be compared: too long, or gone."""
    changed = [item for item in anchors.items() if answers.get(item.example_id, item.answer) != item.answer]
    replaced: dict[str, Fresh] = {}
    for item in changed:
        example, answer = reasker.example(item), answers[item.example_id]
        if example and (sequence := tokenizing.fits(example, answer, example.passages)):
            replaced[item.example_id] = msgspec.structs.replace(item, answer=answer, sequence=sequence)
    anchors.replace(replaced)
    return frozenset({item.example_id for item in changed} - replaced.keys())
