"""The kinds, in the order in which they depend on each other."""

from collections.abc import Mapping

from headrace.kinds import (
    base_model,
    embedding_model,
    knowledge_base,
    mega_model,
    stream_connector,
    stream_finetuner,
)
from headrace.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        stream_connector.KIND,
        mega_model.KIND,
        base_model.KIND,
        embedding_model.KIND,
        knowledge_base.KIND,
        stream_finetuner.KIND,
    )
}
API_VERSIONS = tuple(sorted({version for kind in KINDS.values() for version in kind.api_versions}))
