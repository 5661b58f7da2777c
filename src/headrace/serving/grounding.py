"""The port to knowledge: where the passages of a grounded answer come from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from headrace.events.message import Message, Passage
from headrace.models.prompt_renderer import KNOWLEDGE
from headrace.serving.version_source import VersionRef

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class KnowledgeWishes:
    """What a client says of retrieval."""

    off: bool = False
    """Answer from the weights alone."""
    limit: int | None = None
    """Passages at most; None: as many as in training."""
    filter: Mapping[str, object] = field(default_factory=dict[str, object])
    """Metadata that the passages' documents must have."""


@dataclass(frozen=True, slots=True)
class Grounded:
    """What was found for one question."""

    passages: tuple[Passage, ...] = ()
    """Best first."""
    generation: str = ""
    """The generation that was searched; '': none was."""
    degraded: str = ""
    """Why only a part of the search was possible; '': all of it was."""


class Grounding(Protocol):
    """Finds passages for questions, in the generation that a version was trained with."""

    async def find(self, version: VersionRef, question: str, wishes: KnowledgeWishes) -> Grounded:
        """InvalidDeclarationError for a filter that is none; UnavailableError where nothing can be searched."""
        ...


def as_trained(messages: tuple[Message, ...], template: str) -> tuple[Message, ...]:
    """Puts the last user message into the question's template, so that passages stand where they stood in training.

    The message takes the place of the template's one other field; a template with several, or none, lends its passages alone.
    Messages that have a place for passages already stay as they are.
    """
    if any(KNOWLEDGE in message.content for message in messages) or KNOWLEDGE not in template:
        return messages
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        return messages
    question = messages[last].content
    fields = [name for name in _FIELD.findall(template) if name != KNOWLEDGE[1:-1]]
    if len(set(fields)) == 1:
        marker = "{" + fields[0] + "}"
        head, _, tail = template.partition(marker)
        text = head + question + tail.replace(marker, question)
    else:
        text = f"{KNOWLEDGE}\n\n{question}"
    return (*messages[:last], Message("user", text), *messages[last + 1 :])


def question_of(messages: tuple[Message, ...]) -> str:
    """What is searched for: the last user message."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
