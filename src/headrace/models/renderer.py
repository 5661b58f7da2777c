"""The renderer on a checkpoint's own files: tokenizer.json and its chat template, without torch or transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from headrace.events.message import Message, Passage
from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.models.chat_template import FALLBACK, FILE, ChatTemplate, read_template
from headrace.models.json_file import read_json_object
from headrace.models.knowledge_text import fill_knowledge
from headrace.models.prompt_renderer import PromptRenderer, TooLongError
from headrace.models.sequence import TokenSequence

_MARK = "\ue000"
"""A private-use character that marks a message while its position in the rendered text is located."""


class CheckpointRenderer:
    """One checkpoint's tokenizer and template. Stateless once open, so thread-safe."""

    def __init__(
        self, tokenizer: Tokenizer, plain: Tokenizer, template: ChatTemplate, end_token_id: int, special: list[str]
    ) -> None:
        """`plain` encodes the text of special tokens as ordinary text, so that no message can forge a turn."""
        self._tokenizer = tokenizer
        self._plain = plain
        self._template = template
        self._end_token_id = end_token_id
        self._special = special

    @property
    def end_token_id(self) -> int:
        return self._end_token_id

    @property
    def vocabulary_size(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def example(
        self,
        messages: Sequence[Message],
        answer: str,
        *,
        passages: Sequence[Passage] = (),
        input_max: int | None = None,
        output_max: int | None = None,
    ) -> TokenSequence:
        answer_ids = self._plain.encode(answer, add_special_tokens=False).ids
        if output_max is not None and len(answer_ids) + 1 > output_max:
            raise TooLongError(
                f"the answer has {len(answer_ids) + 1} tokens including its end token, more than outputMax {output_max}"
            )
        prompt, kept = self._fit(messages, passages, input_max)
        return TokenSequence((*prompt, *answer_ids, self._end_token_id), len(prompt), kept)

    def prompt(
        self, messages: Sequence[Message], *, passages: Sequence[Passage] = (), input_max: int | None = None
    ) -> tuple[int, ...]:
        return self.grounded(messages, passages, input_max=input_max)[0]

    def grounded(
        self, messages: Sequence[Message], passages: Sequence[Passage], *, input_max: int | None = None
    ) -> tuple[tuple[int, ...], int]:
        ids, kept = self._fit(messages, passages, input_max)
        return tuple(ids), kept

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=True).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def _fit(
        self, messages: Sequence[Message], passages: Sequence[Passage], input_max: int | None
    ) -> tuple[list[int], int]:
        """Prompt ids and the number of passages in them: as many, best first, as fit into `input_max`."""
        ids: list[int] = []
        for kept in range(len(passages), -1, -1):
            ids = self._render(fill_knowledge(messages, passages[:kept]))
            if input_max is None or len(ids) <= input_max:
                return ids, kept
        raise TooLongError(f"the prompt has {len(ids)} tokens even without passages, more than inputMax {input_max}")

    def _render(self, messages: Sequence[Message]) -> list[int]:
        if any(token in message.content for message in messages for token in self._special):
            return self._render_apart(messages)
        text = self._template.render(messages, add_generation_prompt=True)
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _render_apart(self, messages: Sequence[Message]) -> list[int]:
        """Tokenizes the template's text and the messages separately: a special token's text inside a message stays text."""
        marks = [f"{_MARK}{index}{_MARK}" for index in range(len(messages))]
        marked = [Message(message.role, mark) for message, mark in zip(messages, marks, strict=True)]
        rest = self._template.render(marked, add_generation_prompt=True)
        ids: list[int] = []
        for message, mark in zip(messages, marks, strict=True):
            before, found, rest = rest.partition(mark)
            if not found:
                raise InvalidDeclarationError("the chat template drops a message that contains a special token")
            ids += self._tokenizer.encode(before, add_special_tokens=False).ids
            ids += self._plain.encode(message.content, add_special_tokens=False).ids
        return ids + self._tokenizer.encode(rest, add_special_tokens=False).ids


def open_renderer(path: Path) -> PromptRenderer:
    """Opens a checkpoint's tokenizer and chat template (Headrace's own if there is none).

    NotFoundError without tokenizer.json, CorruptDataError if it does not parse, InvalidDeclarationError without an end token.
    """
    if not (path / "tokenizer.json").is_file():
        raise NotFoundError(
            f"{path} has no tokenizer.json",
            next_step="Save the tokenizer with transformers' save_pretrained (a fast tokenizer) beside the weights.",
        )
    tokenizer, plain = _read_tokenizer(path), _read_tokenizer(path)
    plain.encode_special_tokens = True
    config = read_json_object(path / "tokenizer_config.json")
    names = _special_tokens(path, config)
    template = ChatTemplate(read_template(path, config) or FALLBACK, names, where=str(path / FILE))
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    return CheckpointRenderer(tokenizer, plain, template, _end_token(path, tokenizer, template, names), special)


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # the Rust side raises a bare Exception for any error in the file
        raise CorruptDataError(f"the tokenizer cannot be read: {error}", where=str(path / "tokenizer.json")) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_tokens(path: Path, config: dict[str, Any]) -> dict[str, str]:
    """`eos_token`, `bos_token` … by name; each is a string or an object with `content`."""
    merged = {**read_json_object(path / "special_tokens_map.json"), **config}
    names: dict[str, str] = {}
    for name, value in merged.items():
        content = cast("dict[str, Any]", value).get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(content, str):
            names[name] = content
    return names


def _end_token(path: Path, tokenizer: Tokenizer, template: ChatTemplate, names: dict[str, str]) -> int:
    """The token that ends an answer: the one the template writes after it, if generation stops there; otherwise eos."""
    stops = _stop_ids(path)
    if "eos_token" in names:
        eos = tokenizer.token_to_id(names["eos_token"])
        stops += [eos] if eos is not None else []
    if not stops:
        raise InvalidDeclarationError(
            "the checkpoint has no end token",
            where=str(path),
            next_step="Set eos_token in tokenizer_config.json or eos_token_id in generation_config.json.",
        )
    turns = [Message("user", "a"), Message("assistant", _MARK)]
    tail = template.render(turns, add_generation_prompt=False).partition(_MARK)[2]
    behind = tokenizer.encode(tail, add_special_tokens=False).ids
    return next((token for token in behind[:1] if token in stops), stops[-1])


def _stop_ids(path: Path) -> list[int]:
    for name in ("generation_config.json", "config.json"):
        value = read_json_object(path / name).get("eos_token_id")
        if value is not None:
            return list(cast("list[int]", value)) if isinstance(value, list) else [int(value)]
    return []
