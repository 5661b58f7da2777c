"""Placeholders of sample YAML that were left in: `BASE_MODEL`, `<name>`, `YOUR_KEY`."""

import re
from collections.abc import Iterator

from headrace.kinds.document import Location, Plain

SAMPLE_WORDS = frozenset(
    {
        "STREAMFINETUNER_NAME", "NAMESPACE", "BASE_MODEL", "SOURCE_FINETUNE_CONNECTOR", "OPTIONAL_STREAM_FINETUNER",
        "KNOWLEDGEBASE_NAME", "MEGAMODEL_NAME", "CHECKPOINT_INTERVAL", "FLINK_MEMORY", "MANAGED_MEMORY",
        "PARALLELISM_LEVEL", "PROCESS_MEMORY", "CPU_LIMIT", "GPU_LIMIT", "MEMORY_LIMIT", "CPU_REQUEST", "GPU_REQUEST",
        "MEMORY_REQUEST", "KNOWLEDGE_SEARCH_LIMIT", "PREPROCESSING_SQL_QUERY", "SAMPLE_RATIO", "INPUT_MAX_LENGTH",
        "OUTPUT_MAX_LENGTH", "SYSTEM_CONTEXT", "USER_QUESTION", "BATCH_SIZE", "EPOCHS", "GRADIENT_ACCUMULATION_STEPS",
        "LEARNING_RATE", "MIXED_PRECISION", "NAME", "MODEL_PROVIDER", "PREVIEW", "APIKEY", "DEPLOYMENT", "ENDPOINT",
        "HF_MODEL_ID", "HF_TOKEN", "REPLICATION", "CPU", "MEMORY", "GPU", "EMBEDDING_MODEL",
    }
)  # fmt: skip
"""The words that stand for values in the sample YAML of the kinds' reference pages."""

_CAPITALS = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_MARKED = re.compile(r"<[^<>]+>|\[?(YOUR|MY|REPLACE|CHANGE)[-_][A-Za-z0-9_-]+\]?|xxx+|\.\.\.|TODO|CHANGEME", re.ASCII)


def is_placeholder(text: str) -> bool:
    """Whether a value of a field with its own form (a name, a number, an address) is a placeholder."""
    word = text.strip()
    return word in SAMPLE_WORDS or bool(_CAPITALS.fullmatch(word) or _MARKED.fullmatch(word))


def is_certain_placeholder(text: str) -> bool:
    """The same for text that people choose freely, where capitals alone say nothing."""
    word = text.strip()
    return bool(_MARKED.fullmatch(word) and word[0] != "x")


def left_in(spec: Plain, free_text: frozenset[str], above: Location = ()) -> Iterator[tuple[Location, str]]:
    """Every placeholder below `spec`, with its location. `free_text`: keys, `*` for all, where capitals are no sign of one."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            yield from left_in(value, frozenset({"*"}) if key in free_text else free_text, (*above, key))
    elif isinstance(spec, list):
        for place, value in enumerate(spec):
            yield from left_in(value, free_text, (*above, place))
    elif isinstance(spec, str) and (is_certain_placeholder if "*" in free_text else is_placeholder)(spec):
        yield above, spec
