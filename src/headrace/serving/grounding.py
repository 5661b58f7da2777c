"""The port to knowledge: the source of a grounded answer's passages."""

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
    """A client's retrieval options."""

    off: bool = False
    """Answer without retrieval."""
    limit: int | None = None
    """Maximum number of passages; None: as in training."""
    filter: Mapping[str, object] = field(default_factory=dict[str, object])
    """Metadata that the passages' documents must have."""


@dataclass(frozen=True, slots=True)
class Grounded:
    """The result for one question."""

    passages: tuple[Passage, ...] = ()
    """Best first."""
    generation: str = ""
    """The generation that was searched; '': none was."""
    degraded: str = ""
    """Why only part of the search was possible; '': the search was complete."""


class Grounding(Protocol):
    """Finds passages for questions, in the generation that a version was trained with."""

    async def find(self, version: VersionRef, question: str, wishes: KnowledgeWishes) -> Grounded:
        """InvalidDeclarationError for an invalid filter; UnavailableError if nothing can be searched."""
        ...


def as_trained(messages: tuple[Message, ...], template: str) -> tuple[Message, ...]:
    """Puts the last user message into the question's template, so that passages appear where they did in training.

    The message replaces the template's one other field; from a template with several, or none, only the passages are used.
    Messages that already have a placeholder for passages stay unchanged.
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
    """The search query: the last user message."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
