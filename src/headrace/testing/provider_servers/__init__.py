"""Local servers that speak the published protocols of the large models' providers and fail on command.

    with ProviderServer(OpenAIProtocol()) as server:
        server.script("rate_limited", "ok")
        ... server.endpoint, server.key, server.requests ...

Strict about the shape of requests, so that a client that passes here sends what the provider takes. May import the
standard library and msgspec alone; no provider's SDK.
"""

from headrace.testing.provider_servers.anthropic_protocol import AnthropicProtocol
from headrace.testing.provider_servers.gemini_protocol import GeminiProtocol
from headrace.testing.provider_servers.openai_protocol import AzureProtocol, OpenAIProtocol
from headrace.testing.provider_servers.server import (
    Behaviour,
    Protocol,
    ProviderServer,
    Reply,
    Request,
    Scripted,
)

__all__ = [
    "AnthropicProtocol",
    "AzureProtocol",
    "Behaviour",
    "GeminiProtocol",
    "OpenAIProtocol",
    "Protocol",
    "ProviderServer",
    "Reply",
    "Request",
    "Scripted",
]
