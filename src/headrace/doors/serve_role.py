"""The serve role's process: the gateway with everything behind and beside it at one address.

Started by the supervisor as `python -m headrace.doors.serve_role`. The event loop answers; a thread of its own refreshes the
aliases and commits answers, so that nobody who asks ever waits for the log.
"""

import signal
import sys
import threading

from fastapi import APIRouter

from headrace.control.role import RoleOrder, StageThread, read_order
from headrace.doors.gateway.app import create_app
from headrace.doors.gateway.server import serve
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.serving.answering import AnswerService
from headrace.serving.question import ModelSettings
from headrace.serving.replica_limits import ReplicaLimits
from headrace.serving.replica_pool import PoolOptions, ReplicaPool
from headrace.serving.replica_process import ReplicaOptions
from headrace.stages.options import ServedModel, ServeOptions
from headrace.stages.serve import ServeStage


def _pool(model: ServedModel, options: ServeOptions) -> ReplicaPool:
    limits = ReplicaLimits(threads=max(1, int(model.limits.cpu or 1)), memory_bytes=model.limits.memory_bytes)
    replica = ReplicaOptions(limits, max_batch=options.max_batch)
    return ReplicaPool(PoolOptions(model.replicas, replica, options.max_queue))


def build_service(options: ServeOptions, stage: ServeStage) -> AnswerService:
    """The answering side of the role: a pool of replicas per served model."""
    pools = {model.name: _pool(model, options) for model in options.models}
    settings = {
        model.name: ModelSettings(model.system_context, model.input_max, model.output_max) for model in options.models
    }
    return AnswerService(stage.versions, pools, stage, settings)


def run(order: RoleOrder, log: TopicLog) -> int:
    """Serves until SIGTERM or SIGINT; answers that are being written are finished. Returns the exit code."""
    options = order.topology.serve
    stage = ServeStage(options, log, order.holder, order.state)
    app = create_app(
        build_service(options, stage), feedback_sink=stage, api_key=options.api_key, routers=_push_doors(options, log)
    )
    thread = StageThread(lambda: stage, log, on_failure=lambda: signal.raise_signal(signal.SIGTERM))
    thread.start()
    serve(app, options.host, options.port)
    thread.stop()
    return thread.exit_code


def _push_doors(options: ServeOptions, log: TopicLog) -> list[APIRouter]:
    if not options.inboxes:
        return []
    from headrace.doors.push import push_router

    return [push_router({(one.namespace, one.name): one for one in options.inboxes}, log, clock=SYSTEM_CLOCK)]


def main() -> int:
    """Runs the order on standard input."""
    order = read_order()
    log = open_log(order.state, technology=order.log, clock=SYSTEM_CLOCK)
    try:
        return run(order, log)
    finally:
        log.close()


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread()
    sys.exit(main())
