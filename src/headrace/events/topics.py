"""Topic names: `NAMESPACE.NAME.WHAT` (SEMANTICS §1)."""

from headrace.foundation.resource_id import ResourceId


def events(connector: ResourceId) -> str:
    """A source's rows, typed and clean, and its control records."""
    return f"{connector.path_name}.events"


def inbox(connector: ResourceId) -> str:
    """Raw events pushed over HTTP, before ingest has read them."""
    return f"{connector.path_name}.inbox"


def dead(connector: ResourceId) -> str:
    """Dead letters of ingest for a connector."""
    return f"{connector.path_name}.dead"


def stage_dead(owner: ResourceId, stage: str) -> str:
    """Dead letters of one stage of a finetuner (transform, prompt, label or train), or of a knowledge base (index)."""
    return f"{owner.path_name}.dead.{stage}"


def rows(owner: ResourceId) -> str:
    return f"{owner.path_name}.rows"


def late(owner: ResourceId) -> str:
    return f"{owner.path_name}.late"


def job(owner: ResourceId) -> str:
    """The output of a query that runs on an external engine's cluster, before it becomes rows."""
    return f"{owner.path_name}.job"


def table(owner: ResourceId, name: str, digest: str) -> str:
    """A static table joined by such a query."""
    return f"{tables_prefix(owner)}{name}.{digest}"


def tables_prefix(owner: ResourceId) -> str:
    """The common prefix of the names of a query's static tables."""
    return f"{owner.path_name}.table."


def prompts(finetuner: ResourceId) -> str:
    return f"{finetuner.path_name}.prompts"


def examples(finetuner: ResourceId) -> str:
    return f"{finetuner.path_name}.examples"


def scores(finetuner: ResourceId) -> str:
    return f"{finetuner.path_name}.scores"


def decisions(finetuner: ResourceId) -> str:
    return f"{finetuner.path_name}.decisions"


def commands(finetuner: ResourceId) -> str:
    """Manual promotions and roll-backs, applied by the trainer at a recorded offset."""
    return f"{finetuner.path_name}.commands"


def canaries(knowledge_base: ResourceId) -> str:
    """Canaries that measure a knowledge base's freshness when nothing else changes."""
    return f"{knowledge_base.path_name}.canaries"


def answers(namespace: str) -> str:
    return f"{namespace}.answers"


def feedback(namespace: str) -> str:
    return f"{namespace}.feedback"
