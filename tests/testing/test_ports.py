"""Ports are free, and no two processes get the same one."""

import subprocess
import sys

import pytest

from headrace.testing import ports
from headrace.testing.ports import free_ports


def test_another_process_is_not_given_a_port_that_waits_for_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = free_ports(1)[0]
    program = (
        "import sys; from headrace.testing import ports; port = int(sys.argv[1])\n"
        "ports.FIRST_PORT, ports.LAST_PORT = port, port + 1\n"
        "ports.free_ports(1)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(mine)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"no 1 ports are free between {mine} and {mine + 1}" in done.stderr
    monkeypatch.setattr(ports, "FIRST_PORT", mine)
    monkeypatch.setattr(ports, "LAST_PORT", mine + 1)
    with pytest.raises(RuntimeError, match="are free"):
        free_ports(1)
