"""Chat templates from checkpoints (Jinja, sandboxed), and Headrace's own for a checkpoint without one."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, cast

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headrace.events.message import Message
from headrace.foundation.errors import InvalidDeclarationError

FALLBACK = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Assistant:' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ message['role'] | capitalize + ': ' + message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""Plain text that every tokenizer can encode; it is stored inside each version trained with it."""

FILE = "chat_template.jinja"


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    """A compiled template, shared by many checkpoints. TemplateError."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    cast("dict[str, object]", environment.globals)["raise_exception"] = _refuse
    return environment.from_string(source)


class ChatTemplate:
    """Renders messages to text. Templates have no access to a clock: the same messages always give the same text."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], where: str) -> None:
        """`special_tokens`: `eos_token`, `bos_token` … under the template's names; `where` is shown in errors."""
        self._where = where
        self._names = {"bos_token": "", "eos_token": "", **special_tokens}
        try:
            self._template = _compiled(source)
        except TemplateError as error:
            raise InvalidDeclarationError(f"the chat template does not parse: {error}", where=where) from error

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The text of a conversation; InvalidDeclarationError if the template rejects it."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        values = cast("dict[str, Any]", self._names)
        try:
            return self._template.render(messages=turns, add_generation_prompt=add_generation_prompt, **values)
        except (TemplateError, TypeError, KeyError) as error:
            raise InvalidDeclarationError(
                f"the chat template rejects the messages: {error}", where=self._where
            ) from error


def read_template(checkpoint: Path, tokenizer_config: Mapping[str, object]) -> str | None:
    """The checkpoint's own template: `chat_template.jinja`, otherwise `chat_template` in tokenizer_config.json, otherwise None."""
    file = checkpoint / FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    value = tokenizer_config.get("chat_template")
    if isinstance(value, list):  # several named templates, an older layout
        named = {entry["name"]: entry["template"] for entry in cast("list[dict[str, str]]", value)}
        return named.get("default")
    return value if isinstance(value, str) else None
