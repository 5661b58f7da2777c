"""Opens a finetuner's desk in front of its teacher: the same for labels and for the questions asked again on drift."""

from pathlib import Path

from headrace.foundation.clock import Clock
from headrace.foundation.errors import InvalidDeclarationError
from headrace.stages.label.options import LabelOptions
from headrace.teachers.answer_cache import Keep
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_options import desk_options
from headrace.teachers.registry import open_teacher


def open_desk(options: LabelOptions, state: Path, clock: Clock) -> TeacherDesk:
    """The desk with its cache and accounts in the state directory."""
    if options.teacher is None:
        raise InvalidDeclarationError(f"the finetuner {options.id.name} has no teacher")
    desk = desk_options(
        options.teacher,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        budget_tokens=options.budget.tokens,
        budget_usd=options.budget.usd,
        give_up_seconds=options.retry_seconds,
        keep=Keep(options.answer_cache.keep_ms, options.answer_cache.max_bytes),
    )
    return TeacherDesk(open_teacher(options.teacher), desk, AnswerStore(state / "teachers.sqlite"), clock)
