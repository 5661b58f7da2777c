"""`documents/1`: what changed in a knowledge base, at its place between prompts: earlier prompts were answered from what was before."""

import msgspec


class DocumentRef(msgspec.Struct, frozen=True):
    """A document's version that became visible."""

    document: str
    version: str
    deleted: bool = False


class DocumentsChanged(msgspec.Struct, frozen=True):
    """Stands in `prompts` and `examples`, before the first prompt that could see the changes."""

    knowledge_base: str
    changes: list[DocumentRef]
    at_ms: int
    """The moment up to which they are counted, on the finetuner's timeline."""
    generation: str = ""
    """The generation that the prompts behind it were retrieved from."""
