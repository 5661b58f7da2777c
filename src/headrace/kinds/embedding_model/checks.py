"""What an EmbeddingModel's fields must be together."""

from collections.abc import Iterator

from headrace.kinds.base_model.checks import check_resources, check_serving_info
from headrace.kinds.kind import Draft, Problem, World


def check(draft: Draft, _world: World) -> Iterator[Problem]:
    """The weights come from somewhere, and requests are within limits."""
    yield from check_serving_info(draft, "embeddingModelServingInfo")
    yield from check_resources(draft, "embeddingModelServingTemplate")
