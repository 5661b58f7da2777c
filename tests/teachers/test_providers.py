"""Every provider against a local server that speaks its published protocol."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from headrace.events.message import Message
from headrace.foundation.errors import InvalidDeclarationError
from headrace.teachers import registry
from headrace.teachers.teacher import Teacher, TeacherOptions, TeacherUnavailableError
from headrace.testing.provider_servers import (
    AnthropicProtocol,
    AzureProtocol,
    GeminiProtocol,
    OpenAIProtocol,
    ProviderServer,
)
from headrace.testing.teacher_conformance import TeacherConformance


class TestOpenAI(TeacherConformance):
    protocol = OpenAIProtocol
    provider = "OpenAI"

    def template(self, server: ProviderServer) -> dict[str, Any]:
        return {"apikey": server.key, "model": server.protocol.model, "endpoint": server.endpoint}

    def open(self, options: TeacherOptions) -> Teacher:
        return registry.open_teacher(options)

    def limit_of(self, body: Mapping[str, Any]) -> object:
        return body["max_tokens"]


class TestAzure(TestOpenAI):
    protocol = AzureProtocol
    provider = "AzureOpenAI"

    def template(self, server: ProviderServer) -> dict[str, Any]:
        return {
            "apiVersion": AzureProtocol.api_version,
            "apikey": server.key,
            "deployment": server.protocol.model,
            "endpoint": server.endpoint,
        }


class TestAnthropic(TeacherConformance):
    protocol = AnthropicProtocol
    provider = "Anthropic"
    has_temperature = False

    def template(self, server: ProviderServer) -> dict[str, Any]:
        return {"apikey": server.key, "model": server.protocol.model, "endpoint": server.endpoint}

    def open(self, options: TeacherOptions) -> Teacher:
        return registry.open_teacher(options)

    def limit_of(self, body: Mapping[str, Any]) -> object:
        return body["max_tokens"]


class TestGemini(TestAnthropic):
    protocol = GeminiProtocol
    provider = "Gemini"
    has_temperature = True
    sends_limits = False

    def limit_of(self, body: Mapping[str, Any]) -> object:
        return body["generationConfig"]["maxOutputTokens"]

    def test_a_rate_limit_says_in_its_body_when_to_come_back(self, server: ProviderServer) -> None:
        server.script("rate_limited")
        error = self._failure(server)
        assert isinstance(error, TeacherUnavailableError)
        assert error.retry_after_seconds == 34.0


def test_a_model_that_takes_neither_temperature_nor_max_tokens_is_asked_without_them():
    protocol = OpenAIProtocol()
    protocol.without_temperature = True
    with ProviderServer(protocol) as server:

        async def ask_twice() -> None:
            template = {"apikey": server.key, "model": protocol.model, "endpoint": server.endpoint}
            teacher = registry.open_teacher(TeacherOptions("mega", "OpenAI", template))
            for _ in range(2):
                await teacher.answer([Message("user", "hello")], max_output_tokens=8)
            await teacher.close()

        asyncio.run(ask_twice())
        last = server.requests[-1].fields()
        assert last["max_completion_tokens"] == 8
        assert "temperature" not in last
        assert len(server.requests) == 4


def test_an_unknown_provider_is_told_the_known_ones():
    with pytest.raises(InvalidDeclarationError, match="Anthropic, AzureOpenAI, Gemini, OpenAI"):
        registry.open_teacher(TeacherOptions("mega", "Mistral"))


def test_openai_without_an_endpoint_needs_a_key_and_another_endpoint_does_not():
    with pytest.raises(InvalidDeclarationError, match="apikey is needed"):
        registry.open_teacher(TeacherOptions("mega", "OpenAI", {"model": "m"}))
    teacher = registry.open_teacher(TeacherOptions("mega", "OpenAI", {"model": "m", "endpoint": "http://localhost/v1"}))
    asyncio.run(teacher.close())
