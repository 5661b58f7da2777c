"""Settles the address of the doors before anything starts."""

import dataclasses
import errno
import socket

from headrace.foundation.errors import BusyError, InvalidDeclarationError
from headrace.foundation.settings import Settings, require_key


def open_address(settings: Settings) -> Settings:
    """The settings with a port that is free now: port 0 becomes one.

    Errors: InvalidDeclarationError if other machines could reach it without a key, or if the address is not this machine's;
    BusyError if the address is in use.
    """
    require_key(settings)
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise _refusal(settings, error) from error
        return dataclasses.replace(settings, port=probe.getsockname()[1])


def _refusal(settings: Settings, error: OSError) -> BusyError | InvalidDeclarationError:
    if error.errno == errno.EADDRINUSE:
        return BusyError(
            f"{settings.host}:{settings.port} is already in use", next_step="stop it or pass a different --port"
        )
    return InvalidDeclarationError(
        f"cannot listen on {settings.host}:{settings.port}: {error}", next_step="pass a different --host or --port"
    )
