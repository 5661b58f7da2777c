"""Who may commit under a role: an epoch in the state, and a transactional id that fences.

The epoch is written first, then the id is taken. A holder that finds its id taken retakes it and checks the epoch:
if it was only disconnected it continues; if it was replaced it ends.
"""

from headrace.foundation.errors import FencedError
from headrace.log.kafka.changelog import Changelog
from headrace.log.topic_log import Lease, StateEntry

OWNER = "leases"


def encode(lease: Lease) -> bytes:
    return f"{lease.epoch}\n{lease.holder}".encode()


def decode(role: str, entry: StateEntry) -> Lease:
    epoch, _, holder = entry.value.decode().partition("\n")
    return Lease(role, int(epoch), holder)


def current(changelog: Changelog, role: str) -> Lease | None:
    """The role's current holder."""
    entry = changelog.entries(OWNER).get(role)
    return decode(role, entry) if entry else None


def check(changelog: Changelog, lease: Lease) -> None:
    """FencedError if another process holds the role."""
    now = current(changelog, lease.role)
    if now != lease:
        who = f"{now.holder} holds it since epoch {now.epoch}" if now else "nobody holds it"
        raise FencedError(f"{lease.holder} lost the role {lease.role!r} of epoch {lease.epoch}: {who}")
