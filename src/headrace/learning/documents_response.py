"""The response when documents cited by learned examples change: reask with the current passages, or drop (SEMANTICS §5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from headrace.events.control import Control
from headrace.events.decision import Decision
from headrace.learning.anchors import AnchorSet
from headrace.learning.drift_response import ANCHORS_REASKED, REASKED, spread
from headrace.learning.fresh import Fresh
from headrace.learning.reask import Reasked, Reasker, Reasking
from headrace.learning.replay import ReplayBuffer
from headrace.learning.stale import MAJORITY
from headrace.learning.tokenizing import Tokenizing

CREDIT = REASKED + ANCHORS_REASKED
"""Questions that may be reasked at once. Each fresh example earns one back, so that documents that change with every row
at most double the questions to the teacher."""
NAMES_AT_MOST = 20

Current = Mapping[str, str | None]
"""The current version of each document; None: deleted."""


@dataclass(frozen=True, slots=True)
class DocumentsResponse:
    """The outcome."""

    decision: Decision
    asked: int
    labels_changed: bool
    """Whether most answers changed."""


def current_versions(sign: Control) -> Current:
    """What is current after the sign."""
    return {one.document: None if one.deleted else one.version for one in sign.changes}


def generation_at(generations: Sequence[tuple[int, str]], offset: int) -> str:
    """The generation an example's prompt was retrieved from; `generations`: by the offsets of the signs that named them."""
    return next((name for at, name in reversed(generations) if at < offset), "")


def respond(
    offset: int,
    sign: Control,
    replay: ReplayBuffer,
    anchors: AnchorSet,
    reasker: Reasker,
    tokenizing: Tokenizing,
    credit: int,
) -> DocumentsResponse | None:
    """Reasks, as far as `credit` allows, examples citing passages that are no longer in the changed documents; drops the rest.

    None: no example cites such passages.
    """
    current = current_versions(sign)
    replayed, held = _outdated(current, sign, replay, anchors, reasker)
    if not replayed and not held:
        return None
    asked = _chosen(replayed, held, credit) if reasker.can_search else []
    reasking = reasker.reask_with_new_passages(asked, offset, sign.at_ms) if asked else Reasking()
    reasked = _reasked(asked, reasking, offset, reasker, tokenizing)
    before = anchors.version
    gone = {item.example_id for item in [*replayed, *held]} - reasked.keys()
    replay.replace(reasked)
    anchors.replace(reasked)
    dropped = replay.discard(lambda item: item.example_id in gone)
    anchors_dropped = anchors.discard(lambda item: item.example_id in gone)
    changed = sum(reasked[item.example_id].answer != item.answer for item in asked if item.example_id in reasked)
    decision = Decision(
        "documents", "learner", _reason(len(asked), len(reasked), changed, dropped, anchors_dropped, reasking.missing),
        offset, offset, anchor_version=anchors.version,
        details={
            "knowledgeBase": sign.source, "documents": _cited(current, [*replayed, *held]), "changedDocuments": len(current),
            "generation": sign.generation, "citing": len(replayed), "citingAnchors": len(held), "asked": len(asked),
            "answered": len(reasked), "changed": changed, "dropped": dropped, "droppedAnchors": anchors_dropped,
            "anchorVersionBefore": before,
        },
    )  # fmt: skip
    return DocumentsResponse(decision, len(asked), labels_changed=changed > MAJORITY * len(reasked))


def _outdated(
    current: Current, sign: Control, replay: ReplayBuffer, anchors: AnchorSet, reasker: Reasker
) -> tuple[list[Fresh], list[Fresh]]:
    """Replayed examples and anchors with outdated passages."""
    replayed = [item for item in replay.items if item.outdated_by(current)]
    held = [item for item in anchors.items() if item.outdated_by(current)]
    if not replayed and not held:
        return [], []
    said = reasker.still_said([*replayed, *held], current, sign.at_ms)
    return [item for item in replayed if item.example_id not in said], [
        item for item in held if item.example_id not in said
    ]


def _chosen(replayed: Sequence[Fresh], held: Sequence[Fresh], credit: int) -> list[Fresh]:
    """Anchors first, up to two thirds of the credit: the stream brings new examples, but no new anchors for old roots."""
    anchors = spread(held, min(ANCHORS_REASKED, credit * 2 // 3))
    return [*anchors, *spread(replayed, min(REASKED, credit - len(anchors)))]


def _reasked(
    asked: Sequence[Fresh], reasking: Reasking, offset: int, reasker: Reasker, tokenizing: Tokenizing
) -> dict[str, Fresh]:
    """By example id, the items with their new prompts and answers, if these fit."""
    answered = [(item, reasking.answers[item.example_id]) for item in asked if item.example_id in reasking.answers]
    again = [_again(item, answer, offset, reasker, tokenizing) for item, answer in answered]
    return {item.example_id: item for item in again if item}


def _again(item: Fresh, reasked: Reasked, offset: int, reasker: Reasker, tokenizing: Tokenizing) -> Fresh | None:
    """The item with its new prompt and answer; None if they are too long to learn, or the example is gone."""
    example = reasker.example(item)
    sequence = tokenizing.fits(example, reasked.answer, reasked.passages) if example else None
    if sequence is None:
        return None
    return msgspec.structs.replace(
        item, sequence=sequence, answer=reasked.answer, reasked_at=offset,
        documents=tuple(one.document for one in reasked.passages), versions=tuple(one.version for one in reasked.passages),
    )  # fmt: skip


def _cited(current: Current, items: Sequence[Fresh]) -> str:
    """The names of the changed documents that the items cite, as many as fit into a sentence."""
    names = sorted({document for item in items for document in item.documents} & current.keys())
    more = len(names) - NAMES_AT_MOST
    return ", ".join(names[:NAMES_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _reason(asked: int, answered: int, changed: int, dropped: int, anchors: int, missing: str) -> str:
    why = f" ({missing})" if missing else ""
    return (
        f"documents changed; reasked {asked}{why}, {changed} of {answered} answers differ; "
        f"dropped {dropped} replayed examples and {anchors} anchors"
    )
