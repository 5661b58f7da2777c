"""The exception tree.

HeadraceError
├── FinalError                 trying again cannot help
│   ├── InvalidDeclarationError   a resource, an option or a command line is wrong (exit 2)
│   ├── InvalidQueryError         a stream query is wrong or cannot run on the chosen engine (exit 2)
│   ├── NotFoundError             a named thing does not exist (exit 4)
│   ├── CorruptDataError          bytes on disk are not what was written
│   ├── StateVersionError         the state directory was written by a newer version
│   ├── FencedError               the lease passed to another holder: this process must end
│   └── MissingExtraError         an optional part is not installed
└── RetryableError             the same call may succeed later
    ├── ConflictError             another writer changed the state first
    ├── BusyError                 a bounded queue is full, or another process holds the state directory
    ├── UnavailableError          a server or a disk is not responding
    └── DiskFullError             the disk is full
"""


class HeadraceError(Exception):
    """The base of every Headrace error. It says what happened, where, and what to do next, as far as each is known."""

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, next_step: str | None = None) -> None:
        """`where` is `file:line` or `Kind/name: field`; `next_step` is an imperative sentence."""
        super().__init__(message)
        self.message = message
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} — {sentence(self.next_step)}" if self.next_step else head

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.where, self.next_step))


def sentence(text: str) -> str:
    """A next step as shown to people: capitalised, with a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def _rebuild(kind: type[HeadraceError], message: str, where: str | None, next_step: str | None) -> HeadraceError:
    error = kind.__new__(kind)
    HeadraceError.__init__(error, message, where=where, next_step=next_step)
    return error


class FinalError(HeadraceError):
    """Trying again cannot help."""


class RetryableError(HeadraceError):
    """The same call may succeed later."""

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        next_step: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """`retry_after_seconds` is the wait that the other side asked for, if any."""
        super().__init__(message, where=where, next_step=next_step)
        self.retry_after_seconds = retry_after_seconds


class InvalidDeclarationError(FinalError):
    """A resource, an option or a command line is wrong."""

    exit_code = 2


class InvalidQueryError(FinalError):
    """A stream query is wrong, or cannot run on the chosen engine."""

    exit_code = 2


class NotFoundError(FinalError):
    """A named thing does not exist."""

    exit_code = 4


class CorruptDataError(FinalError):
    """Bytes on disk are not what was written."""


class StateVersionError(FinalError):
    """The state directory was written by a newer version of Headrace."""

    exit_code = 5


class FencedError(FinalError):
    """The lease passed to another holder: this process must end without writing."""

    exit_code = 6


class MissingExtraError(FinalError):
    """An optional part is not installed; the message contains the installation command."""


class ConflictError(RetryableError):
    """Another writer changed the state first."""


class BusyError(RetryableError):
    """A bounded queue is full, or another process holds the state directory."""

    exit_code = 5


class UnavailableError(RetryableError):
    """A server or a disk is not responding."""

    exit_code = 7


class DiskFullError(RetryableError):
    """The disk is full."""

    exit_code = 7
