"""OpenAI's request bodies, as far as they are supported; any other parameter is refused by name."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headrace.events.message import Message

MAX_CHOICES = 16
MAX_PASSAGES = 100

Stop = Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)]


class StreamOptions(BaseModel):
    """`stream_options`."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    """Adds a last chunk with the token counts."""
    include_obfuscation: bool = False
    """Accepted and ignored: nothing is padded."""


class TextPart(BaseModel):
    """A part of a message's content; text alone."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A turn."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    """Accepted and ignored."""
    refusal: None = None

    def to_message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class GenerationBody(BaseModel):
    """What both kinds of completion share."""

    model_config = ConfigDict(extra="forbid")

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: Stop | None = None
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = None
    user: str | None = None
    """Accepted and ignored."""
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("frequency_penalty", "presence_penalty", mode="before")
    @classmethod
    def _zero(cls, value: Any) -> Any:
        return 0 if value == 0 else value

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options requires stream: true")
        return self


class ChatCompletionBody(GenerationBody):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    metadata: dict[str, str] | None = None
    """Accepted and ignored."""
    store: bool | None = None
    """Accepted and ignored: every answer goes to the topic `answers`."""
    service_tier: Literal["auto", "default"] | None = None
    parallel_tool_calls: bool | None = None
    response_format: "TextFormat | None" = None
    knowledge: "KnowledgeBody | None" = None
    """Our extension, by `extra_body`."""
    modalities: list[Literal["text"]] | None = None

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs requires logprobs: true")
        return self


class KnowledgeBody(BaseModel):
    """`knowledge`: what is retrieved for an answer."""

    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Any] = {}
    """Metadata that a document must match, such as {"product": "cards", "fee": {"lte": 5}}."""
    limit: int | None = Field(default=None, ge=1, le=MAX_PASSAGES)
    off: bool = False
    """Nothing is retrieved."""


class TextFormat(BaseModel):
    """`response_format`: only plain text is supported."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]


class CompletionBody(GenerationBody):
    """`POST /v1/completions`."""

    prompt: str | list[int] | list[str] | list[list[int]]
    logprobs: int | None = Field(default=None, ge=0, le=5)
    echo: bool | None = None
    best_of: int | None = Field(default=None, ge=1)
    suffix: None = None

    @model_validator(mode="after")
    def _supported_together(self) -> Self:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of must equal n")
        if self.echo and self.logprobs is not None:
            raise ValueError("echo and logprobs cannot be combined")
        return self

    def prompts(self) -> list[str | list[int]]:
        """One or several, texts or tokens."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[int(token) for token in self.prompt if isinstance(token, int)]]
        return [part for part in self.prompt if not isinstance(part, int)]


ChatCompletionBody.model_rebuild()
