"""What is done when documents changed that learned examples cite: ask again with what is found now, or let go (SEMANTICS §5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from headrace.events.control import Control
from headrace.events.decision import Decision
from headrace.learning.anchors import AnchorSet
from headrace.learning.fresh import Fresh
from headrace.learning.relabel import MAJORITY
from headrace.learning.replay import ReplayBuffer
from headrace.models.prompt_renderer import PromptRenderer, TooLongError
from headrace.stages.train.drift_response import ANCHORS_REASKED, REASKED, spread
from headrace.stages.train.reask import Reasker, Renewal, Renewed

CREDIT = REASKED + ANCHORS_REASKED
"""Questions that may be asked again at once. Each fresh example earns one back, so that documents that change with every row
at most double what the teacher is asked."""
NAMES_AT_MOST = 20

Current = Mapping[str, str | None]
"""By document the version that holds now; None: it is gone."""


@dataclass(frozen=True, slots=True)
class DocumentsResponse:
    """What came of it."""

    decision: Decision
    asked: int
    labels_changed: bool
    """Most answers are other ones now."""


def current_versions(sign: Control) -> Current:
    """What holds behind the sign."""
    return {one.document: None if one.deleted else one.version for one in sign.changes}


def generation_at(generations: Sequence[tuple[int, str]], offset: int) -> str:
    """Which generation an example's prompt was retrieved from; `generations`: by the offsets of the signs that named them."""
    return next((name for at, name in reversed(generations) if at < offset), "")


def respond(
    offset: int,
    sign: Control,
    replay: ReplayBuffer,
    anchors: AnchorSet,
    reasker: Reasker,
    renderer: PromptRenderer,
    limits: tuple[int, int],
    credit: int,
) -> DocumentsResponse | None:
    """Renews, as far as `credit` reaches, what cites passages that the changed documents no longer hold; the rest goes.

    None: nothing does.

    `limits`: inputMax, outputMax.
    """
    current = current_versions(sign)
    replayed = [item for item in replay.items if item.outdated_by(current)]
    held = [item for item in anchors.items() if item.outdated_by(current)]
    if replayed or held:
        said = reasker.still_said([*replayed, *held], current, sign.at_ms)
        replayed = [item for item in replayed if item.example_id not in said]
        held = [item for item in held if item.example_id not in said]
    if not replayed and not held:
        return None
    asked = _chosen(replayed, held, credit) if reasker.can_renew else []
    renewal = reasker.renew(asked, offset, sign.at_ms) if asked else Renewal()
    renewed = {
        item.example_id: again
        for item in asked
        if item.example_id in renewal.answers
        and (again := _again(item, renewal.answers[item.example_id], offset, reasker, renderer, limits))
    }
    before = anchors.version
    outdated = {item.example_id for item in [*replayed, *held]}
    replay.renew(renewed)
    anchors.renew(renewed)
    gone = outdated - renewed.keys()
    dropped = replay.discard(lambda item: item.example_id in gone)
    anchors_dropped = anchors.discard(lambda item: item.example_id in gone)
    changed = sum(renewed[item.example_id].answer != item.answer for item in asked if item.example_id in renewed)
    decision = Decision(
        "documents", "learner", _reason(len(asked), len(renewed), changed, dropped, anchors_dropped, renewal.missing),
        offset, offset, anchor_version=anchors.version,
        details={
            "knowledgeBase": sign.source, "documents": _cited(current, [*replayed, *held]), "changedDocuments": len(current),
            "generation": sign.generation, "citing": len(replayed), "citingAnchors": len(held), "asked": len(asked),
            "answered": len(renewed), "changed": changed, "dropped": dropped, "droppedAnchors": anchors_dropped,
            "anchorVersionBefore": before,
        },
    )  # fmt: skip
    return DocumentsResponse(decision, len(asked), labels_changed=changed > MAJORITY * len(renewed))


def _chosen(replayed: Sequence[Fresh], held: Sequence[Fresh], credit: int) -> list[Fresh]:
    """Anchors before examples, which come anew with the stream, up to two thirds of the credit."""
    anchors = spread(held, min(ANCHORS_REASKED, credit * 2 // 3))
    return [*anchors, *spread(replayed, min(REASKED, credit - len(anchors)))]


def _again(
    item: Fresh, renewed: Renewed, offset: int, reasker: Reasker, renderer: PromptRenderer, limits: tuple[int, int]
) -> Fresh | None:
    """The item with its new prompt and answer; None where they have become too long to be learned."""
    messages = reasker.example(item).messages
    try:
        sequence = renderer.example(
            messages, renewed.answer, passages=renewed.passages, input_max=limits[0], output_max=limits[1]
        )
    except TooLongError:
        return None
    return msgspec.structs.replace(
        item, sequence=sequence, answer=renewed.answer, renewed_at=offset,
        documents=tuple(one.document for one in renewed.passages), versions=tuple(one.version for one in renewed.passages),
    )  # fmt: skip


def _cited(current: Current, items: Sequence[Fresh]) -> str:
    """The names of the changed documents that the items cite, as many as a sentence can hold."""
    names = sorted({document for item in items for document in item.documents} & current.keys())
    more = len(names) - NAMES_AT_MOST
    return ", ".join(names[:NAMES_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _reason(asked: int, renewed: int, changed: int, dropped: int, anchors: int, missing: str) -> str:
    why = f" ({missing})" if missing else ""
    return (
        f"documents changed; asked again {asked}{why}, {changed} of {renewed} answers are other ones now; "
        f"{dropped} replayed examples and {anchors} anchors let go"
    )
