"""Whether a stage is in the middle of a step, in a byte that outlives its process, even after a kill."""

import os
from pathlib import Path
from types import TracebackType

_YES, _NO = b"1", b"0"


class AtWork:
    """The mark of one stage, set while the context lasts. Written without a sync, because it must survive the process, not the machine."""

    def __init__(self, state: Path, stage: str) -> None:
        path = _path(state, stage)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> None:
        os.pwrite(self._file, _YES, 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.pwrite(self._file, _NO, 0)

    def close(self) -> None:
        os.close(self._file)


def was_at_work(state: Path, stage: str) -> bool:
    """Whether the stage's process died within a step of it. Asking removes the mark."""
    path = _path(state, stage)
    if not path.exists() or path.read_bytes() != _YES:
        return False
    path.write_bytes(_NO)
    return True


def _path(state: Path, stage: str) -> Path:
    return state / "steps" / stage.replace("/", ".")
