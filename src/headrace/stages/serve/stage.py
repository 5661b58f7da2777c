"""serve: the registry's aliases → versions to answer with; answers and feedback → their topics, behind the response.

Nothing here waits for the log while somebody waits for an answer: names are resolved from memory, refreshed by `step`;
answers queue up and are committed by `step`.
"""

import asyncio
import queue
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from headrace.events import codec, topics
from headrace.events.answer import Answer, Feedback
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import NotFoundError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.promotion import registry
from headrace.promotion.registry import Registry
from headrace.serving.version_source import ModelCard, VersionRef
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.train.version_store import version_path

ANSWERS_QUEUED = 10_000
ANSWERS_KEPT = 100_000
BASE_VERSION = "base"


@dataclass(frozen=True, slots=True)
class _Queued:
    answer_id: str
    answer: Answer
    answered_ms: int


class LogVersions:
    """`VersionSource` over the registries, as they were at the last refresh."""

    def __init__(self, models: tuple[ServedModel, ...], log: TopicLog, state: Path) -> None:
        self._models, self._log, self._state = {one.name: one for one in models}, log, state
        self._bases = {one.base_name: one for one in models}
        self._registries: dict[str, Registry] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads every registry once."""
        found = {
            one.name: entry[0]
            for one in self._models.values()
            if one.finetuner and (entry := registry.load(self._log, one.namespace, one.finetuner))
        }
        self._registries = found

    def models(self) -> list[ModelCard]:
        cards = [self._card(one) for one in self._models.values()]
        names = {card.name for card in cards}
        return cards + [ModelCard(name, BASE_VERSION) for name in self._bases if name not in names]

    def _card(self, one: ServedModel) -> ModelCard:
        known = self._registries.get(one.name)
        if known is None:
            return ModelCard(one.name, BASE_VERSION, base=one.base_name if one.finetuner else "")
        return ModelCard(one.name, known.served, known.version(known.served).created_ms, one.base_name)

    def resolve(self, model_name: str) -> VersionRef:
        name, _, pinned = model_name.partition("@")
        if name in self._models:
            return self._of_model(self._models[name], pinned)
        if name in self._bases and not pinned:
            one = self._bases[name]
            return VersionRef(one.name, BASE_VERSION, one.base)
        known = [card.name for card in self.models()]
        near = get_close_matches(model_name, known, 1)
        raise NotFoundError(
            f"there is no model {model_name!r}",
            next_step=f"use one of: {', '.join(known)}" + (f"; nearest: {near[0]}" if near else ""),
        )

    def _of_model(self, one: ServedModel, pinned: str) -> VersionRef:
        known = self._registries.get(one.name)
        if known is None:
            if pinned and pinned != registry.BASE:
                raise NotFoundError(
                    f"{one.name} has no version {pinned!r} yet", next_step=f"ask {one.name} without one"
                )
            return VersionRef(one.name, BASE_VERSION if not one.finetuner else registry.BASE, one.base)
        version = pinned or known.served
        path = version_path(self._state, one.namespace, one.finetuner or one.name, known, version)
        return VersionRef(one.name, version, path, known.version(version).knowledge)


class ServeStage:
    """Owns `serve`: the topics of answers and feedback. Also the gateway's AnswerSink and FeedbackSink."""

    name = "serve"

    def __init__(
        self, options: ServeOptions, log: TopicLog, holder: str, state: Path, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._options, self._log, self._clock = options, log, clock
        self.versions = LogVersions(options.models, log, state)
        self._namespaces = {one.name: one.namespace for one in options.models}
        self._namespaces |= {one.base_name: one.namespace for one in options.models}
        for namespace in {one.namespace for one in options.models}:
            log.ensure_topic(TopicSpec(topics.answers(namespace), indexed_ids=True))
            log.ensure_topic(TopicSpec(topics.feedback(namespace)))
        self._lease = take_lease(log, self.name, holder)
        self._reporters = [
            StageReporter(log, f"StreamFinetuner/{one.namespace}/{one.name}", "serve", clock) for one in options.models
        ]
        self._queue: queue.Queue[_Queued] = queue.Queue(ANSWERS_QUEUED)
        self._recent: dict[str, str] = {}
        self.answers_dropped = 0

    def step(self) -> bool:
        """Refreshes the aliases and commits what was answered since."""
        self.versions.refresh()
        answered = self._drain()
        if answered:
            self._commit(answered)
        served = {card.name: card.version for card in self.versions.models()}
        for one, reporter in zip(self._options.models, self._reporters, strict=True):
            progress: dict[str, int | float | str] = {
                "version": served[one.name],
                "answersDropped": self.answers_dropped,
            }
            reporter.say(Condition("Serving", "True", "Answering"), progress=progress)
        return bool(answered)

    def close(self) -> None:
        if answered := self._drain():
            self._commit(answered)

    def record(self, answer_id: str, answer: Answer) -> None:
        """AnswerSink: queues; a full queue drops and counts."""
        self._remember(answer_id, answer.model)
        try:
            self._queue.put_nowait(_Queued(answer_id, answer, self._clock.now_ms()))
        except queue.Full:
            self.answers_dropped += 1

    async def give(self, feedback: Feedback) -> None:
        """FeedbackSink: durable when it returns. NotFoundError where the answer is unknown."""
        await asyncio.to_thread(self._give, feedback)

    def _give(self, feedback: Feedback) -> None:
        namespace = self._namespace_of_answer(feedback.answer_id)
        now = self._clock.now_ms()
        value = codec.encode(feedback)
        record = NewRecord(
            derive_id(feedback.answer_id, value.decode()), codec.kind_of(feedback), value, now, key=feedback.answer_id
        )
        self._log.commit(Commit([Append(topics.feedback(namespace), [record])], lease=self._lease))

    def _namespace_of_answer(self, answer_id: str) -> str:
        if model := self._recent.get(answer_id):
            return self._namespace(model)
        for namespace in set(self._namespaces.values()):
            if self._log.find(topics.answers(namespace), answer_id):
                return namespace
        raise NotFoundError(
            f"there is no answer {answer_id!r}", next_step="send the id of the header x-headrace-answer-id"
        )

    def _namespace(self, model: str) -> str:
        return self._namespaces.get(model.partition("@")[0], "default")

    def _remember(self, answer_id: str, model: str) -> None:
        self._recent[answer_id] = model
        if len(self._recent) > ANSWERS_KEPT:
            del self._recent[next(iter(self._recent))]

    def _drain(self) -> list[_Queued]:
        drained: list[_Queued] = []
        while not self._queue.empty() and len(drained) < 1_000:
            drained.append(self._queue.get_nowait())
        return drained

    def _commit(self, answered: list[_Queued]) -> None:
        by_topic: dict[str, list[NewRecord]] = {}
        for one in answered:
            record = NewRecord(
                one.answer_id, codec.kind_of(one.answer), codec.encode(one.answer), one.answered_ms, key=one.answer_id
            )
            by_topic.setdefault(topics.answers(self._namespace(one.answer.model)), []).append(record)
        failpoint("serve.commit.before")
        self._log.commit(Commit([Append(topic, records) for topic, records in by_topic.items()], lease=self._lease))
        failpoint("serve.commit.after")
