"""The serve role's process: the gateway and all other doors at one address.

Started by the supervisor as `python -m headrace.doors.serve_role`. The event loop answers requests; a separate thread refreshes
the aliases and commits answers, so that no client waits for the log. That stage may fail and reopen; names, journal and doors
stay up.
"""

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI

from headrace.control.orders import RoleOrder
from headrace.control.role import HEALTH_STAGE, read_order
from headrace.control.stage_thread import StageThread
from headrace.doors.answer_metrics import answer_metrics
from headrace.doors.gateway.app import create_app
from headrace.doors.gateway.server import build_server
from headrace.doors.knowledge_metrics import knowledge_metrics
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.serving.answering import AnswerService
from headrace.serving.question import ModelSettings
from headrace.serving.replica_limits import ReplicaLimits
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.replica_process import ReplicaOptions
from headrace.stages.embed.embedding import EmbeddingModels
from headrace.stages.serve.feedback import FeedbackDesk
from headrace.stages.serve.ground import Library
from headrace.stages.serve.journal import AnswerJournal
from headrace.stages.serve.log_versions import LogVersions
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.serve.spec import gateway_options
from headrace.stages.serve.stage import ServeStage
from headrace.stages.stage import StageReporter


@dataclass(frozen=True, slots=True)
class ServeRole:
    """What outlives a stage that is reopened."""

    app: FastAPI
    options: ServeOptions
    log: TopicLog
    versions: LogVersions
    journal: AnswerJournal

    def open_stage(self, holder: str) -> ServeStage:
        """The stage that follows the aliases and commits answers."""
        return ServeStage(self.options, self.log, holder, self.versions, self.journal)


@contextmanager
def opened(options: ServeOptions, log: TopicLog, state: Path) -> Generator[ServeRole]:
    """The doors over a state directory; closed last, when the stage has committed the last answers."""
    versions = LogVersions(options.models, log, state)
    journal = AnswerJournal(state, required=options.answers == "required")
    library = Library(options.knowledge, options.models, state)
    embedders = EmbeddingModels(options.embed, state)
    try:
        app = create_app(
            _service(options, versions, journal, library),
            feedback_sink=FeedbackDesk(log, journal),
            api_key=options.api_key,
            routers=[
                *_push_doors(options, log),
                *_knowledge_doors(options, library),
                *_embedding_doors(options, embedders),
            ],
            metrics=[*answer_metrics(journal), *knowledge_metrics(options.knowledge, log)],
        )
        yield ServeRole(app, options, log, versions, journal)
    finally:
        journal.close()
        library.close()
        embedders.close()


def run(order: RoleOrder, log: TopicLog) -> int:
    """Serves until SIGTERM or SIGINT; answers in progress are finished, and all are committed. Returns the exit code."""
    options = gateway_options(order.specs, order.doors)
    with opened(options, log, order.state) as role:
        server = build_server(role.app, options.host, options.port)

        def end(*_: object) -> None:
            server.should_exit = True

        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                sign, end
            )  # uvicorn raises them again once it has ended; the last answers must still be committed
        reporter = StageReporter(log, ResourceId("Role", "-", order.process), f"serve{HEALTH_STAGE}", SYSTEM_CLOCK)
        thread = StageThread(lambda: role.open_stage(order.holder), log, on_end=end, reporter=reporter)
        thread.start()
        server.run()
        thread.stop()
    return thread.exit_code


def _service(options: ServeOptions, versions: LogVersions, journal: AnswerJournal, library: Library) -> AnswerService:
    """The answering side: a pool of replicas per served model, grounded in the knowledge bases of `library`."""
    pools = {model.id: _pool(model, options) for model in options.models}
    settings = {model.id: _settings(model) for model in options.models}
    return AnswerService(versions, pools, journal, settings, grounding=library)


def _pool(model: ServedModel, options: ServeOptions) -> ReplicaPool:
    limits = ReplicaLimits(threads=max(1, int(model.limits.cpu or 1)), memory_bytes=model.limits.memory_bytes)
    replica = ReplicaOptions(limits, max_batch=options.max_batch)
    return ReplicaPool(PoolOptions(model.replicas, replica, options.max_queue))


def _settings(model: ServedModel) -> ModelSettings:
    return ModelSettings(
        model.system_context, model.input_max, model.output_max, model.user_question, model.knowledge is not None
    )


def _push_doors(options: ServeOptions, log: TopicLog) -> list[APIRouter]:
    if not options.inboxes:
        return []
    from headrace.doors.push import push_router

    return [push_router(options.inboxes, log, clock=SYSTEM_CLOCK)]


def _knowledge_doors(options: ServeOptions, library: Library) -> list[APIRouter]:
    if not options.knowledge:
        return []
    from headrace.doors.knowledge import knowledge_router

    return [knowledge_router(library)]


def _embedding_doors(options: ServeOptions, models: EmbeddingModels) -> list[APIRouter]:
    if not options.embed:
        return []
    from headrace.doors.gateway.embeddings import routes

    return [routes(models.find, models.names)]


def main() -> int:
    """Runs the order on standard input."""
    order = read_order()
    log = order.backends.open_log(order.state)
    try:
        return run(order, log)
    finally:
        log.close()


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread()
    sys.exit(main())
