"""Settings of a SQL gateway session, sent before a job's statements."""

from headrace.streams.stream_job import JobOptions

JOB_ID = "$internal.pipeline.job-id"
"""Flink's own key for a job's id (PipelineOptionsInternal): an id is taken once only, so that a submit can be sent twice."""
RETAINED = 8
"""Checkpoints kept: the newest one seen must still exist when a lost job is restarted from it."""


def session_properties(name: str, job_id: str, options: JobOptions, savepoint: str | None) -> dict[str, str]:
    """The settings of a job, by Flink 2.3's names.

    Restarts wait 0.5 s … 10 s and never give up: while the log is away the job waits for it.
    """
    properties = {
        "pipeline.name": name,
        JOB_ID: job_id,
        "execution.runtime-mode": "streaming",
        "execution.attached": "false",
        "table.dml-sync": "false",
        "table.local-time-zone": "UTC",
        "parallelism.default": str(options.parallelism),
        "execution.checkpointing.interval": f"{options.checkpoint_interval_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": str(RETAINED),
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "60 s",
        "table.exec.source.idle-timeout": "0 ms",
    }
    if savepoint:
        properties["execution.state-recovery.path"] = savepoint
    return properties
