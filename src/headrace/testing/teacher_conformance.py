"""What every teacher must do, whatever its provider: inherit `TeacherConformance` in a pytest module.

class TestOpenAI(TeacherConformance):
    protocol = OpenAIProtocol
    def template(self, server): return {"apikey": server.key, "model": server.protocol.model, "endpoint": server.endpoint}
    def open(self, options): return open_teacher(options)
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, TypeVar

import pytest

from headrace.events.message import Message
from headrace.foundation.errors import HeadraceError, InvalidDeclarationError
from headrace.teachers.teacher import (
    AnsweredError,
    RefusedError,
    Teacher,
    TeacherAnswer,
    TeacherOptions,
    TeacherRejectedError,
    TeacherUnavailableError,
    UnusableAnswerError,
)
from headrace.testing.provider_servers import Behaviour, Protocol, ProviderServer, Scripted

QUESTION = (
    Message("system", "Answer in one word."),
    Message("user", "Is this the first question?"),
    Message("assistant", "yes"),
    Message("user", "And is this the second one?"),
)
FAILURES: Mapping[Behaviour, type[HeadraceError]] = {
    "rate_limited": TeacherUnavailableError,
    "server_error": TeacherUnavailableError,
    "overloaded": TeacherUnavailableError,
    "slow": TeacherUnavailableError,
    "cut": TeacherUnavailableError,
    "malformed": TeacherUnavailableError,
    "wrong_shape": TeacherUnavailableError,
    "refusal": RefusedError,
    "content_filter": RefusedError,
    "too_long": RefusedError,
    "empty": UnusableAnswerError,
    "cut_off": UnusableAnswerError,
    "echo_key": TeacherRejectedError,
}
Result = TypeVar("Result")


class TeacherConformance:
    """Runs each behaviour of a provider's server against the teacher."""

    protocol: type[Protocol]
    """The provider's protocol."""
    provider: str
    """Its name in `modelProvider`."""
    sends_limits = True
    """Whether the provider's headers say what is left."""
    has_temperature = True
    """Whether the provider takes a temperature."""

    def template(self, server: ProviderServer) -> dict[str, Any]:
        """The block of `modelTemplate` that points at the server, key included under `apikey`."""
        raise NotImplementedError

    def open(self, options: TeacherOptions) -> Teacher:
        """The teacher under test."""
        raise NotImplementedError

    def limit_of(self, body: Mapping[str, Any]) -> object:
        """Where a request body says how long the answer may be."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Generator[ProviderServer]:
        with ProviderServer(cls.protocol()) as server:
            yield server

    @pytest.fixture(autouse=True)
    def _fresh(self, server: ProviderServer) -> None:
        server.script()

    def _with_teacher(
        self,
        template: Mapping[str, Any],
        use: Callable[[Teacher], Awaitable[Result]],
        timeout_seconds: float = 20.0,
    ) -> Result:
        async def run() -> Result:
            teacher = self.open(TeacherOptions("mega", self.provider, template, timeout_seconds))
            try:
                return await use(teacher)
            finally:
                await teacher.close()

        return asyncio.run(run())

    def _ask(self, server: ProviderServer, timeout_seconds: float = 20.0, **changed: str) -> TeacherAnswer:
        return self._with_teacher(
            {**self.template(server), **changed},
            lambda teacher: teacher.answer(QUESTION, max_output_tokens=64),
            timeout_seconds,
        )

    def _failure(self, server: ProviderServer, timeout_seconds: float = 20.0, **changed: str) -> HeadraceError:
        with pytest.raises(HeadraceError) as caught:
            self._ask(server, timeout_seconds, **changed)
        return caught.value

    def test_an_answer_comes_as_it_is_with_usage_and_model(self, server: ProviderServer) -> None:
        server.script(Scripted("ok", " ja, « naïve » 日本\n"))
        answer = self._ask(server)
        assert answer.text == " ja, « naïve » 日本\n"
        assert server.protocol.model in answer.model
        assert answer.input_tokens > 10
        assert answer.output_tokens == 5

    def test_a_request_carries_every_turn_and_the_limit(self, server: ProviderServer) -> None:
        self._ask(server)
        (request,) = server.requests
        sent = request.body.decode()
        places = [sent.find(message.content) for message in QUESTION if message.role != "system"]
        assert -1 not in places
        assert places == sorted(places)
        assert QUESTION[0].content in sent
        assert self.limit_of(request.fields()) == 64

    def test_the_temperature_is_zero_where_there_is_one(self, server: ProviderServer) -> None:
        self._ask(server)
        temperatures = list(_values(server.requests[0].fields(), "temperature"))
        assert temperatures == ([0] if self.has_temperature else [])

    def test_a_conversation_without_system_message_is_answered(self, server: ProviderServer) -> None:
        answer = self._with_teacher(
            self.template(server),
            lambda teacher: teacher.answer([Message("user", "hello")], max_output_tokens=8),
        )
        assert answer.text == "an answer"

    def _identity(self, template: Mapping[str, Any]) -> Mapping[str, str]:
        async def identity(teacher: Teacher) -> Mapping[str, str]:
            return teacher.identity

        return self._with_teacher(template, identity)

    def test_its_identity_names_endpoint_model_and_sampling_before_the_first_call(self, server: ProviderServer) -> None:
        identity = self._identity(self.template(server))
        assert identity["model"] == server.protocol.model
        assert identity["endpoint"] in server.endpoint
        assert ("temperature" in identity) == self.has_temperature
        assert all(server.key not in value for value in identity.values())

    def test_another_endpoint_is_another_identity_and_another_spelling_is_not(self, server: ProviderServer) -> None:
        template = self.template(server)
        same = {**template, "endpoint": server.endpoint.replace("http://", "http://user@") + "/"}
        other = {**template, "endpoint": server.protocol.endpoint("127.0.0.2", 9)}
        assert self._identity(same) == self._identity(template) != self._identity(other)

    @pytest.mark.parametrize("behaviour", list(FAILURES))
    def test_each_failure_has_its_error_after_one_request_and_the_next_call_works(
        self, server: ProviderServer, behaviour: Behaviour
    ) -> None:
        async def fail_then_ask(teacher: Teacher) -> TeacherAnswer:
            with pytest.raises(FAILURES[behaviour]) as caught:
                await teacher.answer(QUESTION, max_output_tokens=64)
            assert type(caught.value) is FAILURES[behaviour]
            assert len(server.requests) == 1
            return await teacher.answer(QUESTION, max_output_tokens=64)

        server.script(behaviour)
        seconds = 0.3 if behaviour == "slow" else 20.0
        assert self._with_teacher(self.template(server), fail_then_ask, seconds).text == "an answer"

    @pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0)])
    def test_the_wait_that_the_provider_asks_for_is_passed_on(
        self, server: ProviderServer, header: str, seconds: float
    ) -> None:
        server.script(Scripted("overloaded", headers={"retry-after": header, "date": "Tue, 14 Nov 2023 22:13:20 GMT"}))
        error = self._failure(server)
        assert isinstance(error, TeacherUnavailableError)
        assert error.retry_after_seconds == pytest.approx(seconds)

    def test_a_rate_limit_with_a_header_says_when_to_come_back(self, server: ProviderServer) -> None:
        server.script(Scripted("rate_limited", headers={"retry-after": "34"}))
        error = self._failure(server)
        assert isinstance(error, TeacherUnavailableError)
        assert error.retry_after_seconds == 34.0
        assert not error.maybe_billed

    @pytest.mark.parametrize("behaviour", ["slow", "cut", "malformed"])
    def test_a_lost_answer_may_be_billed(self, server: ProviderServer, behaviour: Behaviour) -> None:
        server.script(behaviour)
        error = self._failure(server, 0.3 if behaviour == "slow" else 20.0)
        assert isinstance(error, TeacherUnavailableError)
        assert error.maybe_billed

    def test_a_call_takes_no_longer_than_its_timeout(self, server: ProviderServer) -> None:
        server.script("slow")
        started = time.monotonic()
        self._failure(server, 0.3)
        assert time.monotonic() - started < 5

    def test_nobody_listening_is_an_outage_that_costs_nothing(self, server: ProviderServer) -> None:
        error = self._failure(server, 5.0, endpoint=server.protocol.endpoint("127.0.0.1", 9))
        assert isinstance(error, TeacherUnavailableError)
        assert not error.maybe_billed

    def test_a_wrong_key_is_rejected_and_not_repeated(self, server: ProviderServer) -> None:
        key = "sk-wrong-9876543210"
        error = self._failure(server, apikey=key)
        assert isinstance(error, TeacherRejectedError)
        assert key not in "".join(traceback.format_exception(error)) + repr(error)

    @pytest.mark.parametrize("behaviour", ["refusal", "empty", "cut_off"])
    def test_what_an_unusable_answer_cost_is_known(self, server: ProviderServer, behaviour: Behaviour) -> None:
        server.script(behaviour)
        error = self._failure(server)
        assert isinstance(error, AnsweredError)
        assert error.billed is not None
        assert error.billed.input_tokens > 10

    @pytest.mark.parametrize("behaviour", list(FAILURES))
    def test_the_key_never_shows(
        self, server: ProviderServer, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.script(behaviour)
        with caplog.at_level(logging.DEBUG):
            error = self._failure(server, 0.3 if behaviour == "slow" else 20.0)
        said = "".join(traceback.format_exception(error)) + repr(error) + str(error)
        assert server.key not in said
        assert all(server.key not in f"{record.getMessage()} {record.exc_text}" for record in caplog.records)

    def test_the_key_does_not_show_in_logs_of_good_calls_nor_in_reprs(
        self, server: ProviderServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def describe(teacher: Teacher) -> str:
            answer = await teacher.answer(QUESTION, max_output_tokens=64)
            return f"{teacher!r} {answer!r} {vars(teacher)!r}"

        with caplog.at_level(logging.DEBUG):
            said = self._with_teacher(self.template(server), describe)
        options = TeacherOptions("mega", self.provider, self.template(server))
        assert server.key not in f"{said} {options!r}"
        assert all(server.key not in record.getMessage() for record in caplog.records)

    def test_limits_are_read_where_the_provider_sends_them(self, server: ProviderServer) -> None:
        limits = self._ask(server).limits
        known = (
            limits.requests_remaining,
            limits.requests_reset_seconds,
            limits.tokens_remaining,
            limits.tokens_reset_seconds,
        )
        assert [value is not None for value in known] == [self.sends_limits] * 4

    def test_many_calls_go_on_at_once(self, server: ProviderServer) -> None:
        async def many(teacher: Teacher) -> list[TeacherAnswer]:
            return await asyncio.gather(*(teacher.answer(QUESTION, max_output_tokens=8) for _ in range(32)))

        assert {answer.text for answer in self._with_teacher(self.template(server), many)} == {"an answer"}
        assert len(server.requests) == 32

    def test_a_template_with_an_unknown_or_a_missing_key_is_refused_without_its_values(
        self, server: ProviderServer
    ) -> None:
        good = self.template(server)
        for wrong in (
            {**good, "colour": "blue"},
            {name: value for name, value in good.items() if name != "apikey"} | {"model": "", "deployment": ""},
        ):
            with pytest.raises(InvalidDeclarationError) as caught:
                self.open(TeacherOptions("mega", self.provider, wrong))
            assert "MegaModel/mega" in str(caught.value)
            assert server.key not in str(caught.value)


def _values(body: object, name: str) -> Generator[object]:
    if isinstance(body, Mapping):
        for key, value in body.items():
            if key == name:
                yield value
            yield from _values(value, name)
