"""Notes for the author of a query, shown before it runs as a job."""

from headrace.streams.logical_plan import LogicalPlan, Window, relations

SESSION_NOTES = (
    "late rows of a SESSION are dropped and not listed on flink",
    "a SESSION runs in one task on flink, whatever parallelism says",
)


def job_notes(logical: LogicalPlan) -> tuple[str, ...]:
    """One sentence each."""
    windows = [one for one in relations(logical.root) if isinstance(one, Window)]
    return SESSION_NOTES if any(one.frame.kind == "SESSION" for one in windows) else ()
