"""What a finetuner's prompts and ground truth demand of the columns that its query gives."""

from collections.abc import Iterator

from headrace.events.schema import RowSchema
from headrace.kinds.kind import Draft
from headrace.kinds.mistake import listed, nearest
from headrace.kinds.problem import Problem
from headrace.kinds.stream_finetuner.checks import KNOWLEDGE, prompt_fields


def check_prompts(draft: Draft, output: RowSchema) -> Iterator[Problem]:
    """Every `{column}` and the ground truth's column are given by the query."""
    columns = output.names
    for location, name in prompt_fields(draft):
        if name not in columns and name != KNOWLEDGE:
            yield Problem(location, f"the query returns no column {name!r}", listed(columns), nearest(name, columns))
    truth = draft.text("groundTruth", "column")
    if truth is None:
        return
    if truth not in columns:
        yield Problem(
            ("groundTruth", "column"),
            f"the query returns no column {truth!r}",
            listed(columns),
            nearest(truth, columns),
        )
    for location, name in prompt_fields(draft):
        if name == truth:
            yield Problem(location, f"the question contains the answer {{{truth}}}", warning=True)
