"""Growable arrays."""

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

_LEAST = 1_024


class Column(Generic[Number]):
    """Numbers of one type; additions go to the end."""

    def __init__(self, kind: type[Number]) -> None:
        self._room: NDArray[Number] = np.empty(_LEAST, kind)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[Number]:
        """All of them; writing to it changes them. Valid until the next `extend`."""
        return self._room[: self._size]

    def extend(self, more: NDArray[Any]) -> None:
        """Appends; grows by a quarter more than needed, so that appending one at a time stays cheap."""
        size = self._size + len(more)
        if size > len(self._room):
            room = np.empty(max(_LEAST, size + size // 4), self._room.dtype)
            room[: self._size] = self.values
            self._room = room
        self._room[self._size : size] = more
        self._size = size
