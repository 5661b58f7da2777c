"""How retrieved passages stand in a message, the same for the teacher and for the student (SEMANTICS §5)."""

from collections.abc import Sequence

from headrace.events.message import Message, Passage
from headrace.models.prompt_renderer import KNOWLEDGE


def fill_knowledge(messages: Sequence[Message], passages: Sequence[Passage]) -> list[Message]:
    """Puts the passages, best first, one paragraph each, where `{knowledge}` stands; messages without it stay as they are."""
    text = "\n\n".join(passage.text for passage in passages)
    return [
        Message(message.role, message.content.replace(KNOWLEDGE, text)) if KNOWLEDGE in message.content else message
        for message in messages
    ]
