"""Settles the address of the doors before anything is started."""

import dataclasses
import errno
import socket

from headrace.foundation.errors import BusyError, InvalidDeclarationError
from headrace.foundation.settings import Settings, require_key


def open_address(settings: Settings) -> Settings:
    """The settings with a port that is free now: port 0 becomes one.

    Errors: InvalidDeclarationError where others could reach it without a key, or where the address is not this machine's;
    BusyError where something listens there already.
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
            f"something already listens at {settings.host}:{settings.port}", next_step="stop it, or say another --port"
        )
    return InvalidDeclarationError(
        f"{settings.host}:{settings.port} cannot be listened at: {error}", next_step="say another --host or --port"
    )
