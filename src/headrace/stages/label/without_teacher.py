"""Prompts that were made for a teacher and wait where none is declared any more.

The finetuner's `groundTruth` answers them from their rows. A prompt whose row has no answer becomes a dead letter, which a replay sends
again once a teacher is declared.
"""

from dataclasses import replace

import msgspec

from headrace.events.origin import decode_origin
from headrace.events.prompt import Prompt
from headrace.events.row_codec import row_values, text_of
from headrace.foundation.errors import FinalError
from headrace.log.record import Record
from headrace.log.topic_log import TopicLog
from headrace.stages.label.pending import Pending


class NoTeacherError(FinalError):
    """Nobody can answer the prompt."""


def settled(pending: Pending, log: TopicLog, column: str | None) -> Pending:
    """The prompt with its row's answer, or given up. `column`: of the row, with the answer; None: no column is declared."""
    if pending.prompt is None or not pending.is_for_teacher:
        return pending
    try:
        answer = _answer(pending.record, log, column)
    except NoTeacherError as error:
        return replace(pending, given_up=error)
    return replace(pending, prompt=_answered(pending.prompt, answer, column))


def _answered(prompt: Prompt, answer: str, column: str | None) -> Prompt:
    return msgspec.structs.replace(prompt, ground_truth=answer, teacher=f"column:{column}")


def _answer(record: Record, log: TopicLog, column: str | None) -> str:
    why = "the teacher was removed"
    if column is None:
        raise NoTeacherError(f"{why}, and no groundTruth", next_step="declare a megaModel and replay the dead letter")
    row = _row(record, log)
    if row is None:
        raise NoTeacherError(
            f"{why}, and the row of the prompt is no longer kept", next_step="declare a megaModel and replay"
        )
    answer = text_of(row_values(row).get(column))
    if not answer:
        raise NoTeacherError(
            f"{why}, and the column {column} of the row is empty", next_step="declare a megaModel and replay"
        )
    return answer


def _row(record: Record, log: TopicLog) -> Record | None:
    """The row that the prompt was made of; None where retention has taken it."""
    origin = decode_origin(record.origin)
    if not origin.topic:
        return None
    found = log.read(origin.topic, origin.offset, max_records=1)
    return found[0] if found and (found[0].offset, found[0].id) == (origin.offset, origin.id) else None
