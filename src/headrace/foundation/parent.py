"""Ties a process's life to its parent's, so that no process is left behind, however the parent ended."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int | None = None, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Linux: the kernel sends this process the signal `by` when the thread that started it ends. Elsewhere it does nothing.

    `parent`: the expected parent's id; if that process has ended already, this one exits at once. As `preexec_fn` of
    `subprocess.Popen` it is one call into a library that is already loaded.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, by)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
