"""Who may ask."""

from pathlib import Path

import httpx
import openai
import pytest

from headrace.doors.gateway.app import create_app
from headrace.doors.gateway.security import is_loopback
from headrace.doors.gateway.server import build_server
from headrace.foundation.errors import InvalidDeclarationError
from headrace.serving.answering import AnswerService


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_this_machines_own_addresses_need_no_key(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "no-such-host.invalid"])
def test_any_other_address_refuses_to_start_without_a_key(host: str) -> None:
    service = AnswerService(None, {}, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidDeclarationError, match="API key"):
        build_server(create_app(service), host)
    build_server(create_app(service, api_key="secret"), host)


def test_a_key_is_asked_for_everywhere_but_at_the_probes(root: Path, open_gateway) -> None:
    with open_gateway(root, api_key="secret") as gateway:
        for key, expected in (("secret", None), ("wrong", openai.AuthenticationError)):
            with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
                if expected is None:
                    assert len(list(client.models.list())) == 3
                else:
                    with pytest.raises(expected) as raised:
                        client.models.list()
                    assert raised.value.code == "invalid_api_key"
        assert httpx.get(f"{gateway.url}/metrics").status_code == 401
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200
