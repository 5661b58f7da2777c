"""What changing a field of a declaration does to what already runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

ResetFrom = Literal["source", "sink", "rows", "labels", "model", "knowledge"]
"""What `headrace reset --from` starts at; everything downstream of it is reset too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """When a change acts, and what it leaves as it is."""

    text: str
    """A few words for tables."""
    sentence: str
    """The same for people."""
    reset: ResetFrom | None = None
    """What must be reset before the change can act; None: it acts without a reset."""

    def saying(self, sentence: str) -> "Verdict":
        """The same verdict with what is particular to one field."""
        return replace(self, sentence=sentence)

    def __str__(self) -> str:
        return self.text


NO_EFFECT = Verdict("no effect", "Recorded and shown. It has no effect on this machine.")
AT_ONCE = Verdict("at once", "Acts as soon as the stages have read the new declaration. No work is repeated.")
NEXT_BEGIN = Verdict(
    "at the next fresh start", "Acts when its stage next starts from scratch. A running stage keeps its position."
)
NEXT_RECORD = Verdict("from the next record", "Acts on records read from now on. Earlier ones stay as they are.")
NEXT_ROUND = Verdict("from the next round", "Acts with the next training round. The model keeps what it learned.")
NEXT_CANDIDATE = Verdict(
    "from the next candidate", "Acts when the next candidate is cut. A running trial keeps the previous value."
)
RESTART = Verdict("restart, continues", "The processes that use it restart and continue where they stopped.")
NEW_QUERY = Verdict(
    "new query",
    "The query changes. Without windows and joins it continues where the previous one stopped; any other restarts "
    "at the start of its inputs or at preProcessing.startTime.",
)
NEW_GENERATION = Verdict(
    "new generation",
    "A new generation of the index is built beside the active one, which answers until the new one is complete.",
)
RESETS: Mapping[ResetFrom, Verdict] = {
    one.reset: one
    for one in (
        Verdict("needs a reset from source", "The source must be read again from its start.", "source"),
        Verdict("needs a reset from sink", "The sink must write its topic again from its start.", "sink"),
        Verdict("needs a reset from rows", "The query must run again over the kept events.", "rows"),
        Verdict("needs a reset from labels", "The prompts must be created and answered again.", "labels"),
        Verdict("needs a reset from model", "The model must be retrained from its base. Versions are kept.", "model"),
        Verdict("needs a reset from knowledge", "The documents must be indexed again.", "knowledge"),
    )
    if one.reset
}
FIRST_STAGE: Mapping[ResetFrom, str] = {
    "source": "ingest", "sink": "sink", "rows": "transform", "labels": "label", "model": "train", "knowledge": "index",
}  # fmt: skip
"""The stage that a reset begins with. A resource for which it never ran has nothing to reset."""
VERDICTS: tuple[Verdict, ...] = (
    NO_EFFECT, AT_ONCE, NEXT_BEGIN, NEXT_RECORD, NEXT_ROUND, NEXT_CANDIDATE, RESTART, NEW_QUERY, NEW_GENERATION, *RESETS.values(),
)  # fmt: skip
"""All of them, the cheapest first."""
_RANK = {one.text: rank for rank, one in enumerate(VERDICTS)}


def rank(verdict: Verdict) -> int:
    """How much a change asks for: the dearest field decides for a resource."""
    return _RANK[verdict.text]
