"""Ports used by other programs."""

import socket
from collections.abc import Iterable

import psutil

from headrace.cluster.configuration import HOST


def taken(ports: Iterable[int]) -> dict[int, str]:
    """The ports that are in use, and by what."""
    return {port: _holder(port) for port in ports if not _free(port)}


def _free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            return False
        return True


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another program"
    for one in connections:
        if one.laddr and one.laddr.port == port and one.pid and one.status == psutil.CONN_LISTEN:
            try:
                return f"{psutil.Process(one.pid).name()} (pid {one.pid})"
            except psutil.Error:
                break
    return "another program"
