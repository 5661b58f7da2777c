"""The names of topics: `NAMESPACE.NAME.WHAT` (SEMANTICS §1)."""


def events(namespace: str, connector: str) -> str:
    """Rows of a source, typed and clean, and its control records."""
    return f"{namespace}.{connector}.events"


def inbox(namespace: str, connector: str) -> str:
    """What was pushed at the HTTP door, raw, before ingest has read it."""
    return f"{namespace}.{connector}.inbox"


def dead(namespace: str, name: str) -> str:
    """Dead letters of ingest for a connector."""
    return f"{namespace}.{name}.dead"


def stage_dead(namespace: str, finetuner: str, stage: str) -> str:
    """Dead letters of one stage of a finetuner (transform, prompt, label or train), or of a knowledge base (index)."""
    return f"{namespace}.{finetuner}.dead.{stage}"


def rows(namespace: str, finetuner: str) -> str:
    return f"{namespace}.{finetuner}.rows"


def late(namespace: str, finetuner: str) -> str:
    return f"{namespace}.{finetuner}.late"


def job(namespace: str, finetuner: str) -> str:
    """What a query that runs on an engine's own cluster wrote, before it becomes rows."""
    return f"{namespace}.{finetuner}.job"


def table(namespace: str, finetuner: str, name: str, digest: str) -> str:
    """A static table that such a query joins."""
    return f"{tables_prefix(namespace, finetuner)}{name}.{digest}"


def tables_prefix(namespace: str, owner: str) -> str:
    """What the names of all static tables of a query begin with."""
    return f"{namespace}.{owner}.table."


def prompts(namespace: str, finetuner: str) -> str:
    return f"{namespace}.{finetuner}.prompts"


def examples(namespace: str, finetuner: str) -> str:
    return f"{namespace}.{finetuner}.examples"


def scores(namespace: str, finetuner: str) -> str:
    return f"{namespace}.{finetuner}.scores"


def decisions(namespace: str, finetuner: str) -> str:
    return f"{namespace}.{finetuner}.decisions"


def commands(namespace: str, finetuner: str) -> str:
    """Manual promotions and roll-backs, taken up by the trainer at a recorded offset."""
    return f"{namespace}.{finetuner}.commands"


def canaries(namespace: str, knowledge_base: str) -> str:
    """What measures a knowledge base's freshness when nothing else changes."""
    return f"{namespace}.{knowledge_base}.canaries"


def answers(namespace: str) -> str:
    return f"{namespace}.answers"


def feedback(namespace: str) -> str:
    return f"{namespace}.feedback"
