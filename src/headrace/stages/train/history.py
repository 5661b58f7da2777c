"""Where declarations act: those that were recorded act again at their places, a new one from the first place that is undecided."""

from collections.abc import Sequence

from headrace.stages.train.declaration import Declaration, Declared
from headrace.stages.train.train_state import Checkpoint


class History:
    """The declarations that the kept checkpoints need, and which of them is in force."""

    def __init__(self, recorded: Sequence[Declared]) -> None:
        self._recorded = list(recorded)
        self._in_force = 0
        self._new: Declared | None = None

    @property
    def in_force(self) -> int:
        """Its number; 0: none."""
        return self._in_force

    def at(self, checkpoint: Checkpoint) -> Declaration | None:
        """What was in force at a checkpoint; None: nothing was recorded then."""
        found = next((one for one in self._recorded if one.number >= checkpoint.declaration), None)
        return found.declaration if found else None

    def resume(self, checkpoint: Checkpoint | None, now: Declaration, place: tuple[int, int]) -> None:
        """Continues from a checkpoint. `now` acts from `place` (example, command) if it is not what was recorded last."""
        self._in_force = checkpoint.declaration if checkpoint else 0
        last = self._recorded[-1] if self._recorded else None
        if last is None or last.declaration.values() != now.values():
            self._new = Declared(last.number + 1 if last else 1, *place, now)
            self._recorded.append(self._new)

    def due(self, offset: int, commands: int) -> Declared | None:
        """The next declaration, where its place is reached: before example `offset` and command `commands`."""
        ahead = next((one for one in self._recorded if one.number > self._in_force), None)
        return ahead if ahead and (ahead.at, ahead.commands) <= (offset, commands) else None

    def enter(self, declared: Declared) -> tuple[bool, Declaration | None]:
        """It is in force now. Whether it is new, and what was in force before."""
        before = next((one.declaration for one in self._recorded if one.number == self._in_force), None)
        self._in_force = declared.number
        is_new = declared is self._new
        self._new = None if is_new else self._new
        return is_new, before

    def kept(self, oldest: int) -> list[Declared]:
        """What to keep for a run from a checkpoint under declaration number `oldest`: it, and all that came after it. One that
        does not act yet is recorded when it does.
        """
        return [one for one in self._recorded if one.number >= oldest and one is not self._new]
