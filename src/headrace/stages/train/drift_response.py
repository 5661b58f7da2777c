"""What is done when the learner's score has fallen: ask again, and let go of what no longer holds (SEMANTICS §5)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.events.decision import Decision
from headrace.learning import relabel
from headrace.learning.anchors import AnchorSet
from headrace.learning.fresh import Fresh
from headrace.learning.replay import ReplayBuffer
from headrace.models.prompt_renderer import PromptRenderer
from headrace.models.sequence import TokenSequence
from headrace.stages.train.reask import Reasker

REASKED = 64
"""Buffered prompts that are asked again."""
ANCHORS_REASKED = 128


@dataclass(frozen=True, slots=True)
class DriftResponse:
    """What came of it."""

    decision: Decision
    labels_changed: bool


def spread(items: Sequence[Fresh], count: int) -> list[Fresh]:
    """`count` items, newest first, spread evenly over the different answers, so that each kind of answer is asked about."""
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
    offset: int,
    replay: ReplayBuffer,
    anchors: AnchorSet,
    reasker: Reasker,
    renderer: PromptRenderer,
    limits: tuple[int, int],
) -> DriftResponse:
    """Asks again within the budget; drops stale examples from replay, gives anchors their new labels. `limits`: inputMax, outputMax."""
    if not reasker.can_ask:
        reason = "the score fell; there is no teacher to ask again, so replay stays and the learning rate warms up anew"
        return DriftResponse(Decision("drift", "learner", reason, offset, offset), labels_changed=False)
    asked = spread(replay.items, REASKED) + spread(anchors.items(), ANCHORS_REASKED)
    answers = reasker.ask_again(asked, offset)
    known = [item for item in asked if item.example_id in answers]
    share = relabel.changed_share([item.answer for item in known], [answers[item.example_id] for item in known])
    gone = relabel.stale([*replay.items, *anchors.items()], answers)
    before = anchors.version
    anchors.relabel(
        {
            item.example_id: _relabelled(item, answers, reasker, renderer, limits)
            for item in known
            if _is_anchor(item, anchors)
        }
    )
    anchors.discard(lambda item: item.example_id in gone and item.example_id not in answers)
    dropped = replay.discard(lambda item: item.example_id in gone)
    changed = bool(gone)
    what = (
        f"{share:.0%} of {len(known)} answers changed; {dropped} replayed examples let go"
        if changed
        else f"none of {len(known)} answers changed: the inputs moved"
    )
    decision = Decision(
        "drift", "learner", f"the score fell; asked again, {what}", offset, offset, anchor_version=anchors.version,
        details={"asked": len(asked), "answered": len(known), "changedShare": round(share, 4), "dropped": dropped, "anchorVersionBefore": before},
    )  # fmt: skip
    return DriftResponse(decision, labels_changed=changed)


def _is_anchor(item: Fresh, anchors: AnchorSet) -> bool:
    return any(one.example_id == item.example_id for one in anchors.items())


def _relabelled(
    item: Fresh, answers: dict[str, str], reasker: Reasker, renderer: PromptRenderer, limits: tuple[int, int]
) -> tuple[str, TokenSequence]:
    answer = answers[item.example_id]
    if answer == item.answer:
        return answer, item.sequence
    example = reasker.example(item)
    sequence = renderer.example(
        example.messages, answer, passages=example.passages, input_max=limits[0], output_max=limits[1]
    )
    return answer, sequence
