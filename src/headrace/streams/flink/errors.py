"""What Flink's servers say when something is wrong: the useful line out of a Java stack trace."""

import re
from dataclasses import dataclass

from headrace.foundation.errors import UnavailableError

_CAUSE = re.compile(r"^(?:<?Exception on server side:\s*)?(?:Caused by: )?((?:[\w$]+\.)+[\w$]+)(?:: (.*))?$")
_FRAME = re.compile(r"^\s+(?:at |\.\.\. \d+ more|\[CIRCULAR REFERENCE)|^End of exception on server side")
_WRAPPED = re.compile(r"^((?:[a-z_$][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable)): (.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Cause:
    """One exception of a stack trace."""

    kind: str
    """The class without its package."""
    message: str
    """May have several lines."""


def causes(trace: str) -> tuple[Cause, ...]:
    """The exceptions of a trace, the outermost first, the root cause last; those that tell nothing are left out."""
    found: list[tuple[str, list[str]]] = []
    for line in trace.replace("<Exception on server side:", "").splitlines():
        if _FRAME.match(line):
            continue
        match = _CAUSE.match(line)
        if match is not None and (line.startswith("Caused by: ") or not found):
            found.append((match[1], [match[2] or ""]))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            found.append(("", [line]))
    told = [_unwrapped(kind, "\n".join(lines).strip()) for kind, lines in found]
    return tuple(one for one in told if one.message)


def _unwrapped(kind: str, message: str) -> Cause:
    """`CompletionException: x.Y: text` says `Y: text`."""
    while (inner := _WRAPPED.match(message)) is not None:
        kind, message = inner[1], inner[2]
    return Cause(kind.rpartition(".")[2].rpartition("$")[2], message)


def root_cause(trace: str) -> str:
    """The root cause's first line; empty for an empty trace."""
    told = causes(trace)
    return told[-1].message.splitlines()[0].strip() if told else ""


class FlinkAnswerError(UnavailableError):
    """A server of Flink's that answers, and not with what was asked for."""

    def __init__(self, message: str, *, status: int, trace: str, next_step: str | None = None) -> None:
        """`status` of HTTP; `trace` as it came."""
        super().__init__(message, next_step=next_step)
        self.status = status
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.message, self.status, self.trace, self.next_step))


def _rebuild(message: str, status: int, trace: str, next_step: str | None) -> FlinkAnswerError:
    return FlinkAnswerError(message, status=status, trace=trace, next_step=next_step)
