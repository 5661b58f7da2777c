"""Free ports that several test processes never take from one another."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below the ephemeral range, from which JVMs take ports of their own."""
_held: list[int] = []
"""Locks on the ports that this process was given; the kernel releases them when it ends."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now, outside the ephemeral range; they are this process's own until it ends."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(FIRST_PORT, LAST_PORT), LAST_PORT - FIRST_PORT):
        if _is_free(port) and _hold(port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} ports are free between {FIRST_PORT} and {LAST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _hold(port: int) -> bool:
    """False: another test process holds it, whose server has not started yet."""
    folder = Path(tempfile.gettempdir()) / "headrace-ports"
    folder.mkdir(exist_ok=True)
    file = os.open(folder / str(port), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _held.append(file)
    return True
