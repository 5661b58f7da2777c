"""Feedback: from an answer's id to the feedback topic of that answer's namespace."""

import asyncio

from headrace.events import codec, topics
from headrace.events.answer import Feedback
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import NotFoundError
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.serving.answer_id import namespace_of
from headrace.stages.serve.journal import AnswerJournal


class FeedbackDesk:
    """`FeedbackSink` over the log. The answer's id names its namespace; no other is looked at."""

    def __init__(self, log: TopicLog, journal: AnswerJournal, clock: Clock = SYSTEM_CLOCK) -> None:
        self._log, self._journal, self._clock = log, journal, clock

    async def give(self, feedback: Feedback) -> None:
        """FeedbackSink: durable when it returns. NotFoundError where the answer is unknown."""
        await asyncio.to_thread(self._give, feedback)

    def _give(self, feedback: Feedback) -> None:
        answer_id = feedback.answer_id
        namespace = namespace_of(answer_id)
        if not self._is_known(answer_id, namespace):
            raise NotFoundError(
                f"there is no answer {answer_id!r}", next_step="send the id of the header x-headrace-answer-id"
            )
        topic, value = topics.feedback(namespace), codec.encode(feedback)
        record = NewRecord(
            derive_id(answer_id, value.decode()), codec.kind_of(feedback), value, self._clock.now_ms(), key=answer_id
        )
        self._log.ensure_exists(topic)
        self._log.commit(Commit([Append(topic, [record])]))

    def _is_known(self, answer_id: str, namespace: str) -> bool:
        if not namespace:
            return False
        if self._journal.knows(answer_id):
            return True
        try:
            return self._log.find(topics.answers(namespace), answer_id) is not None
        except NotFoundError:  # a namespace that has no answers at all
            return False
