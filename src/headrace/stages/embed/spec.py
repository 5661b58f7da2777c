"""The processes that answer for one embedding model, described."""

from headrace.stages.embed.options import EmbedOptions
from headrace.stages.stage_spec import StageSpec
from headrace.stages.stage_type import StageType


def embed_specs(options: EmbedOptions) -> tuple[StageSpec, ...]:
    """One per replica; none where a service elsewhere answers."""
    return tuple(
        StageSpec("embed", options.id, options, partition=f"{options.id.path_name}/{replica}", limits=options.limits)
        for replica in range(0 if options.url else options.replicas)
    )


STAGE = StageType(open=None)
