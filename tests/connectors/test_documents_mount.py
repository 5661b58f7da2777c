"""A folder on a file system that is really unmounted, in a mount namespace of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import subprocess, sys
from pathlib import Path

from headrace.connectors.documents.source import open_source
from headrace.connectors.source import SourceContext, SourceOptions
from headrace.foundation.errors import UnavailableError
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

root, mounted = Path(sys.argv[1]), Path(sys.argv[2])

def system(*command):
    subprocess.run(command, check=True)

def mount():
    system("mount", "-t", "tmpfs", "none", str(mounted))

def said(source):
    rows = []
    while True:
        try:
            batch = source.poll(100, 2.0)
        except UnavailableError as error:
            return sorted(rows), str(error)
        rows += [(row["operation"], row["path"]) for row in batch.rows.table.to_pylist()] if batch.rows else []
        if batch.waiting:
            return sorted(rows), ""

mount()
(mounted / "deep").mkdir()
(mounted / "deep" / "a.md").write_text("One.")
name = str((mounted / "deep" / "a.md").relative_to(root))
source = open_source(SourceOptions(connector_id("docs", "d"), "documents", {"path": str(root)}), SourceContext(None, VirtualClock()))
source.open(None)
assert said(source) == ([("upsert", name)], ""), said(source)

system("umount", str(mounted))
for _ in range(2):
    rows, error = said(source)
    assert rows == []
    assert "cannot be reached" in error, error
if mounted != root:
    mounted.rmdir()
    rows, error = said(source)
    assert rows == []
    assert "its mount is gone" in error, error
    mounted.mkdir()

mount()
(mounted / "deep").mkdir()
(mounted / "deep" / "a.md").write_text("One.")
assert said(source) == ([], ""), said(source)
(mounted / "deep" / "a.md").unlink()
assert said(source) == ([("delete", name)], ""), said(source)
"""


def may_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("below", ["", "mounted"])
def test_what_is_unmounted_is_not_deleted(tmp_path: Path, below: str) -> None:
    if not may_mount(tmp_path):
        pytest.skip("nothing can be mounted here: that takes the rights of a mount namespace")
    root = tmp_path / "policies"
    (root / below).mkdir(parents=True)
    command = ["unshare", "-m", sys.executable, "-c", SCRIPT, str(root), str(root / below)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
