"""How retrieved passages appear in a message, the same for teacher and student (SEMANTICS §5)."""

from collections.abc import Sequence

from headrace.events.message import Message, Passage
from headrace.models.prompt_renderer import KNOWLEDGE


def fill_knowledge(messages: Sequence[Message], passages: Sequence[Passage]) -> list[Message]:
    """Replaces `{knowledge}` with the passages, best first, one paragraph each; messages without it stay unchanged."""
    text = "\n\n".join(passage.text for passage in passages)
    return [
        Message(message.role, message.content.replace(KNOWLEDGE, text)) if KNOWLEDGE in message.content else message
        for message in messages
    ]
