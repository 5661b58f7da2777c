"""serve: the registries' aliases → versions to answer with; journalled answers → the topics of their namespaces.

Nothing here waits for the log while a client waits for an answer. What the event loop uses, `LogVersions` and `AnswerJournal`,
outlives this stage, so that a stage that failed is reopened while the doors keep answering.
"""

from collections.abc import Sequence

from headrace.events import topics
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FencedError, FinalError, RetryableError
from headrace.foundation.failpoints import failpoint
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.stages.serve.journal import AnswerJournal
from headrace.stages.serve.journal_file import JournalledAnswer
from headrace.stages.serve.log_versions import LogVersions
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.serve.spec import shared_topics
from headrace.stages.stage import Condition, StageReporter, take_lease


class ServeStage:
    """Owns `serve`: the topics of answers."""

    name = "serve"

    def __init__(
        self,
        options: ServeOptions,
        log: TopicLog,
        holder: str,
        versions: LogVersions,
        journal: AnswerJournal,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._log, self._versions, self._journal = log, versions, journal
        self._ensured: set[str] = set()
        self._models = options.models
        self._ensure({one.id.namespace for one in options.models})
        self._lease = take_lease(log, self.name, holder)
        self._reporters = [(one, StageReporter(log, one.id, "serve", clock)) for one in options.models]

    def step(self) -> bool:
        """Refreshes the aliases and commits what was answered since."""
        self._versions.refresh()
        worked = self._commit_next()
        served = {card.id: card.version for card in self._versions.models()}
        dropped, waiting = self._journal.dropped, self._journal.waiting
        for one, reporter in self._reporters:
            progress: dict[str, int | float | str] = {
                "version": served[one.id],
                "answersDropped": dropped.get(one.id, 0),
                "answersWaiting": waiting.get(one.id, 0),
            }
            reporter.say(self._serving(one), self._kept(dropped.get(one.id, 0)), progress=progress)
        return worked

    def close(self) -> None:
        """Commits everything that was answered. What the log refuses stays in the journal for the next stage."""
        try:
            self._journal.flush()
            while self._commit_next():
                pass
        except (RetryableError, FencedError):
            return  # the journal shows what waits; the next stage commits it

    def _commit_next(self) -> bool:
        """One batch. False: there was none."""
        answers = self._journal.first()
        if not answers:
            return False
        failpoint("serve.commit.before")
        try:
            self._commit(answers)
        except FencedError:
            raise
        except FinalError:
            self._journal.remove(answers, refused=self._commit_each(answers))
        else:
            failpoint("serve.commit.after")
            self._journal.remove(answers)
        return True

    def _commit(self, answers: Sequence[JournalledAnswer]) -> None:
        by_namespace: dict[str, list[JournalledAnswer]] = {}
        for one in answers:
            by_namespace.setdefault(one.model.namespace, []).append(one)
        self._ensure(set(by_namespace))
        appends = [Append(topics.answers(name), [one.record for one in found]) for name, found in by_namespace.items()]
        self._log.commit(Commit(appends, lease=self._lease))

    def _commit_each(self, answers: Sequence[JournalledAnswer]) -> dict[int, str]:
        """One by one, so that an answer that the log never takes does not hold the others back: those, with the reason."""
        refused: dict[int, str] = {}
        for one in answers:
            try:
                self._commit([one])
            except FencedError:
                raise
            except FinalError as error:
                refused[one.number] = str(error)
        return refused

    def _ensure(self, namespaces: set[str]) -> None:
        for namespace in sorted(namespaces - self._ensured):
            for topic in shared_topics(namespace, self._models):
                self._log.ensure_topic(topic)
            self._ensured.add(namespace)

    def _serving(self, one: ServedModel) -> Condition:
        if problem := self._versions.problems.get(one.id):
            return Condition("Serving", "False", "RegistryUnreadable", str(problem))
        return Condition("Serving", "True", "Answering")

    def _kept(self, dropped: int) -> Condition:
        if trouble := self._journal.trouble:
            return Condition("AnswersKept", "False", "JournalUnwritable", trouble)
        if dropped:
            return Condition("AnswersKept", "False", "Dropped", f"{dropped} answers were sent but not recorded")
        return Condition("AnswersKept", "True", "Journalled")
