"""A client's question, independent of any wire format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from headrace.events.message import Message, Passage
from headrace.foundation.errors import InvalidDeclarationError
from headrace.models.prompt_renderer import TooLongError
from headrace.serving.answer_id import choice_id
from headrace.serving.generation import GenerationRequest
from headrace.serving.grounding import KnowledgeWishes
from headrace.serving.version_facts import VersionFacts


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What a served model adds to its requests."""

    system_context: str = ""
    """Prepended if the client sends no system message."""
    input_max: int | None = None
    """Maximum prompt tokens; None: as many as the model has positions."""
    output_max: int = 256
    """Answer tokens if the client sets no limit."""
    user_question: str = ""
    """The template of the training questions, if it or `system_context` has a placeholder for passages."""
    grounded: bool = False
    """Whether passages are retrieved for it."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to generate the answer."""

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    choices: int = 1
    knowledge: KnowledgeWishes = KnowledgeWishes()


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt."""

    messages: tuple[Message, ...]
    plain: bool = False
    """The single message's text is encoded unchanged, without a chat template."""
    ids: tuple[int, ...] | None = None
    """Tokens instead of text; the messages are only for the record."""


def with_system_context(question: Question, settings: ModelSettings) -> Question:
    """Adds the model's `systemContext` if the client sends no system message."""
    chat = not question.plain and question.ids is None
    if not chat or not settings.system_context or any(message.role == "system" for message in question.messages):
        return question
    return replace(question, messages=(Message("system", settings.system_context), *question.messages))


def prompt_ids(
    question: Question, facts: VersionFacts, settings: ModelSettings, passages: Sequence[Passage] = ()
) -> tuple[tuple[int, ...], int]:
    """The model's input tokens, and how many of the passages they contain.

    TooLongError, or InvalidDeclarationError for an empty prompt or invalid tokens.
    """
    used = 0
    longest = min(settings.input_max or facts.max_positions, facts.max_positions - 1)
    if question.ids is not None:
        ids = question.ids
        if not all(0 <= token < facts.vocabulary_size for token in ids):
            raise InvalidDeclarationError(f"token ids must be 0 to {facts.vocabulary_size - 1}", where="prompt")
    elif question.plain:
        ids = facts.renderer.encode(question.messages[0].content)
    else:
        ids, used = _rendered(question, facts, longest, passages)
    if not ids:
        raise InvalidDeclarationError("the prompt has no tokens", where="prompt")
    if len(ids) > longest:
        raise TooLongError(f"the prompt has {len(ids)} tokens, more than {longest}")
    return ids, used


def _rendered(
    question: Question, facts: VersionFacts, longest: int, passages: Sequence[Passage]
) -> tuple[tuple[int, ...], int]:
    try:
        return facts.renderer.grounded(question.messages, passages, input_max=longest)
    except (
        InvalidDeclarationError
    ) as error:  # a template rejects some conversations; its location does not concern the client
        raise InvalidDeclarationError(error.message, where="messages") from error


def generation_requests(
    answer_id: str, ids: tuple[int, ...], wishes: Wishes, facts: VersionFacts, settings: ModelSettings, first: int = 0
) -> list[GenerationRequest]:
    """One request per choice, numbered from `first`; with a seed, choice i uses seed + i."""
    if any(not 0 <= token < facts.vocabulary_size for token in wishes.logit_bias):
        raise InvalidDeclarationError(f"token ids must be 0 to {facts.vocabulary_size - 1}", where="logit_bias")
    room = facts.max_positions - len(ids)
    return [
        GenerationRequest(
            id=choice_id(answer_id, index),
            prompt_ids=ids,
            max_tokens=min(wishes.max_tokens or settings.output_max, room),
            temperature=wishes.temperature,
            top_p=wishes.top_p,
            seed=None if wishes.seed is None else wishes.seed + index,
            stop=wishes.stop,
            stop_ids=facts.stop_ids,
            top_logprobs=wishes.top_logprobs,
            logit_bias=wishes.logit_bias,
        )
        for index in range(first, first + wishes.choices)
    ]
