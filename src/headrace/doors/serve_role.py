"""The serve role's process: the gateway with everything behind and beside it at one address.

Started by the supervisor as `python -m headrace.doors.serve_role`. The event loop answers; a thread of its own refreshes the
aliases and commits answers, so that nobody who asks ever waits for the log.
"""

import signal
import sys
import threading

from fastapi import APIRouter

from headrace.control.orders import RoleOrder
from headrace.control.role import read_order
from headrace.control.stage_thread import StageThread
from headrace.doors.gateway.app import create_app
from headrace.doors.gateway.server import serve
from headrace.doors.knowledge_metrics import knowledge_metrics
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.topic_log import TopicLog
from headrace.serving.answering import AnswerService
from headrace.serving.question import ModelSettings
from headrace.serving.replica_limits import ReplicaLimits
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.replica_process import ReplicaOptions
from headrace.stages.embed.embedding import EmbeddingModels
from headrace.stages.serve.ground import Library
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.serve.spec import gateway_options
from headrace.stages.serve.stage import ServeStage


def _pool(model: ServedModel, options: ServeOptions) -> ReplicaPool:
    limits = ReplicaLimits(threads=max(1, int(model.limits.cpu or 1)), memory_bytes=model.limits.memory_bytes)
    replica = ReplicaOptions(limits, max_batch=options.max_batch)
    return ReplicaPool(PoolOptions(model.replicas, replica, options.max_queue))


def build_service(options: ServeOptions, stage: ServeStage, library: Library | None = None) -> AnswerService:
    """The answering side of the role: a pool of replicas per served model, grounded in the knowledge bases of `library`."""
    pools = {model.name: _pool(model, options) for model in options.models}
    settings = {model.name: _settings(model) for model in options.models}
    return AnswerService(stage.versions, pools, stage, settings, grounding=library)


def _settings(model: ServedModel) -> ModelSettings:
    return ModelSettings(
        model.system_context, model.input_max, model.output_max, model.user_question, model.knowledge is not None
    )


def run(order: RoleOrder, log: TopicLog) -> int:
    """Serves until SIGTERM or SIGINT; answers that are being written are finished. Returns the exit code."""
    options = gateway_options(order.specs, order.doors)
    stage = ServeStage(options, log, order.holder, order.state)
    library = Library(options.knowledge, options.models, order.state)
    models = EmbeddingModels(options.embed, order.state)
    doors = [*_push_doors(options, log), *_knowledge_doors(options, library), *_embedding_doors(options, models)]
    app = create_app(
        build_service(options, stage, library), feedback_sink=stage, api_key=options.api_key, routers=doors,
        metrics=knowledge_metrics(options.knowledge, log),
    )  # fmt: skip
    thread = StageThread(lambda: stage, log, on_fenced=lambda: signal.raise_signal(signal.SIGTERM))
    thread.start()
    serve(app, options.host, options.port)
    thread.stop()
    library.close()
    models.close()
    return thread.exit_code


def _push_doors(options: ServeOptions, log: TopicLog) -> list[APIRouter]:
    if not options.inboxes:
        return []
    from headrace.doors.push import push_router

    return [push_router({(one.namespace, one.name): one for one in options.inboxes}, log, clock=SYSTEM_CLOCK)]


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
