"""The blocks of modelTemplate, and what loads when."""

import subprocess
import sys

import pytest

from headrace.foundation.errors import InvalidDeclarationError
from headrace.teachers import registry
from headrace.teachers.failures import FailedReply, Failures
from headrace.teachers.teacher import (
    RefusedError,
    TeacherOptions,
    TeacherRejectedError,
    TeacherUnavailableError,
)
from headrace.teachers.templates import TEMPLATES, AzureOpenAITemplate, OpenAITemplate, read_template


def test_every_installed_provider_has_a_block():
    assert set(registry.providers()) == TEMPLATES.keys()


def test_every_key_has_a_line_of_documentation_and_the_seeds_spelling():
    for _, model in TEMPLATES.values():
        fields = model.model_json_schema()["properties"]
        assert all(field["description"] for field in fields.values())
    assert list(AzureOpenAITemplate.model_json_schema()["properties"]) == [
        "apiVersion",
        "apikey",
        "deployment",
        "endpoint",
    ]
    assert [key for key, _ in TEMPLATES.values()] == ["openAI", "azureOpenAI", "anthropic", "gemini"]


def test_every_mistake_is_named_at_once_and_no_value_is_repeated():
    options = TeacherOptions("m", "AzureOpenAI", {"apikey": "sk-secret", "endpoint": "not a url", "color": "sk-secret"})
    with pytest.raises(InvalidDeclarationError) as caught:
        read_template(options, AzureOpenAITemplate)
    said = str(caught.value)
    for part in ("apiVersion", "deployment", "endpoint", "color", "MegaModel/m: spec.modelTemplate.azureOpenAI"):
        assert part in said
    assert "sk-secret" not in said
    assert caught.value.__cause__ is None


def test_a_template_never_shows_its_key():
    template = OpenAITemplate.model_validate({"apikey": "sk-secret", "model": "m"})
    assert "sk-secret" not in f"{template!r} {template} {template.model_dump()} {template.model_dump_json()}"


def test_the_desk_and_the_templates_load_no_providers_sdk():
    code = (
        "import sys, headrace.teachers.desk, headrace.teachers.templates, headrace.teachers.registry as r; r.providers();"
        "print([name for name in ('openai', 'anthropic', 'google.genai', 'httpx', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        *[(status, "", "", TeacherUnavailableError) for status in (408, 409, 425, 429, 500, 502, 503, 504, 520, 529)],
        *[(status, "", "", TeacherRejectedError) for status in (301, 307, 400, 401, 402, 403, 404, 405, 422)],
        (413, "", "", RefusedError),
        (400, "", "content_filter", RefusedError),
        (400, "", "context_length_exceeded", RefusedError),
        (400, "Prompt is too long: 3 > 2", "", RefusedError),
        (400, "Please reduce: maximum context length is 8", "", RefusedError),
    ],
)
def test_each_status_has_its_error(status, message, code, expected):
    error = Failures("MegaModel/m", "k").of_reply(FailedReply(status, message, code))
    assert type(error) is expected


def test_a_long_message_is_cut_and_a_key_is_taken_out_of_it():
    error = Failures("MegaModel/m", "sk-secret").of_reply(FailedReply(400, "sk-secret " * 100))
    assert "sk-secret" not in str(error)
    assert len(str(error)) < 500
