"""What asks for the resets that an applied change needs, in the same commit as the change."""

from collections.abc import Sequence

from headrace.foundation.clock import Clock
from headrace.foundation.errors import FinalError
from headrace.kinds.plan import NeededReset
from headrace.log.topic_log import StateKey


def reset_requests(resets: Sequence[NeededReset], _clock: Clock) -> dict[StateKey, bytes | None]:
    """The entries of state that ask for them. FinalError: resets are not asked for through the log yet."""
    if resets:
        commands = ", ".join(f"`{one.command}`" for one in resets)
        raise FinalError(
            "this version applies a change that needs a reset only by hand",
            next_step=f"Apply the other changes; then see {commands}.",
        )
    return {}
