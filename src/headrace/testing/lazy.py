"""Modules that are imported when a test first uses them: collecting the tests needs no torch, which takes seconds in every process."""

from importlib import import_module
from typing import Any


class Lazy:
    """`torch = Lazy("torch")` in place of `import torch`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks every global of a module for some
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
