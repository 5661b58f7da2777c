"""Every module of the house can be loaded first: no order of imports is the right one."""

import pkgutil
import subprocess
import sys

import pytest

import headrace.kinds

MODULES = sorted(
    one.name for one in pkgutil.iter_modules(headrace.kinds.__path__, "headrace.kinds.") if one.name.count(".") == 2
)


def test_there_are_modules_to_load():
    assert "headrace.kinds.inputs" in MODULES
    assert len(MODULES) > 10


@pytest.mark.slow
def test_each_module_of_kinds_can_be_loaded_first():
    """In a fresh interpreter each: kinds are found by entry point, so a circle shows only in some orders."""
    script = """
import importlib, os, sys
import duckdb, msgspec, pyarrow, pydantic, sqlglot.expressions  # what all of them load, once
for name in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            sys.stderr.write(f"{name}: {error}\\n")
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        sys.stderr.write(f"{name} cannot be loaded first\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *MODULES], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.stderr == ""
    assert done.returncode == 0
