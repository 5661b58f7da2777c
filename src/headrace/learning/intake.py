"""Incoming examples: tokenized, held out or put into a round, where they wait to be scored."""

from collections.abc import Callable

import msgspec

from headrace.events.dead_letter import DeadLetter
from headrace.events.example import Example
from headrace.learning.fresh import Fresh
from headrace.learning.options import LearningOptions
from headrace.learning.rounds import Round, RoundAssembler
from headrace.learning.tokenizing import Tokenizing
from headrace.log.record import Record
from headrace.models.prompt_renderer import TooLongError

PAYLOAD_AT_MOST = 64 << 10


class IntakeState(msgspec.Struct, frozen=True):
    """Its part of a checkpoint."""

    rounds: bytes
    sources: dict[str, Record]
    """By example id: the records of unscored examples, without their values."""
    held: list[Fresh]
    outdated: list[str] = []


class Intake:
    """The open round, and the held-out examples waiting with it."""

    def __init__(self, options: LearningOptions) -> None:
        self._rounds = RoundAssembler(options.round_size)
        self._held: list[Fresh] = []
        self._sources: dict[str, Record] = {}
        self._outdated: set[str] = set()

    def declare(self, options: LearningOptions) -> None:
        """Applies the declared options: the open round closes at the new size."""
        self._rounds.declare(options.round_size)

    @property
    def waiting(self) -> tuple[Fresh, ...]:
        """Every unscored example."""
        return (*self._rounds.pending, *self._held)

    @property
    def next_round(self) -> int:
        return self._rounds.next_round

    def scored_before(self, offset: int) -> int:
        """Every example before the returned offset is scored; `offset`: the next one."""
        return min((record.offset for record in self._sources.values()), default=offset)

    def hold(self, record: Record, item: Fresh) -> None:
        """Keeps a held-out example until the next round is scored."""
        self._source(record, item)
        self._held.append(item)

    def add(self, record: Record, item: Fresh, *, complete: bool) -> Round | None:
        """Adds an example to the open round; `complete`: it is its row's last. Returns the round that this closes."""
        self._source(record, item)
        return self._rounds.add(item, complete)

    def flush(self) -> Round | None:
        """Closes the round as it is."""
        return self._rounds.flush()

    def held_up_to(self, offset: int | None = None) -> list[Fresh]:
        """Releases the held-out examples up to `offset`; None: all of them."""
        given = [item for item in self._held if offset is None or item.offset <= offset]
        self._held = [item for item in self._held if not (offset is None or item.offset <= offset)]
        return given

    def scored(self, item: Fresh) -> Record:
        """Releases the record that the example came from: its score is a record now."""
        return self._sources.pop(item.example_id)

    def documents_changed(self, outdated: Callable[[Fresh], bool]) -> None:
        """Marks waiting examples that cite changed documents: each is scored and learned once, as it arrived."""
        self._outdated |= {item.example_id for item in self.waiting if outdated(item)}

    def may_be_kept(self, item: Fresh) -> bool:
        """Whether an example may be replayed or become an anchor. Asked once."""
        outdated = item.example_id in self._outdated
        self._outdated.discard(item.example_id)
        return not outdated

    def state(self) -> IntakeState:
        return IntakeState(self._rounds.state(), self._sources, self._held, sorted(self._outdated))

    @classmethod
    def from_state(cls, state: IntakeState, options: LearningOptions) -> "Intake":
        intake = cls(options)
        intake._rounds = RoundAssembler.from_state(state.rounds, options.round_size)
        intake._held, intake._sources, intake._outdated = state.held, state.sources, set(state.outdated)
        return intake

    def _source(self, record: Record, item: Fresh) -> None:
        self._sources[item.example_id] = msgspec.structs.replace(record, value=b"")


def tokenized(record: Record, example: Example, topic: str, tokenizing: Tokenizing) -> Fresh | DeadLetter:
    """The example as rounds, replay and anchors store it; a dead letter if it is too long to learn."""
    try:
        sequence = tokenizing.sequence(example, example.answer, example.passages)
    except TooLongError as error:
        payload = record.value.decode(errors="backslashreplace")[:PAYLOAD_AT_MOST]
        return DeadLetter(
            "train", "too_long", str(error), record.id, payload, source_topic=topic, source_offset=record.offset
        )
    documents = tuple(passage.document for passage in example.passages)
    versions = tuple(passage.version for passage in example.passages)
    return Fresh(record.offset, record.id, example.row_id, sequence, example.answer, documents, versions)
