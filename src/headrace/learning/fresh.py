"""One example entering the model, and the encoding of the learning room's data in a checkpoint."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from headrace.foundation.errors import CorruptDataError
from headrace.models.sequence import TokenSequence


class Fresh(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A tokenized example, as rounds, replay and anchors store it."""

    offset: int
    """Its offset in the topic of examples."""
    example_id: str
    row_id: str
    sequence: TokenSequence
    answer: str
    """The answer's text, the source of the answer tokens."""
    documents: tuple[str, ...] = ()
    """The documents that its passages cite."""
    versions: tuple[str, ...] = ()
    """Their versions, one each; empty in checkpoints from before versions were kept."""
    reasked_at: int = -1
    """The offset of the sign at which it was reasked with new passages; -1: its passages are those in the topic."""

    def outdated_by(self, current: Mapping[str, str | None]) -> bool:
        """Whether it cites a version other than the `current` one (by document; None: deleted) of any document listed there."""
        if not self.versions:
            return not current.keys().isdisjoint(self.documents)
        cited = zip(self.documents, self.versions, strict=True)
        return any(document in current and current[document] != version for document, version in cited)


State = TypeVar("State", bound=msgspec.Struct)


def pack(state: msgspec.Struct) -> bytes:
    """msgpack; equal states give equal bytes."""
    return msgspec.msgpack.encode(state)


def unpack(data: bytes, kind: type[State]) -> State:
    """Reverses `pack`. CorruptDataError for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"the state of {kind.__module__} does not parse: {error}") from error
