"""The numerical learner on PyTorch: packed training, scoring, LoRA, checkpoints. `open_learner` is the entry point.

May import what learning may, and torch, transformers and peft (peft only for LoRA). No topic, no stage, no clock.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.learning.torch.learner import open_learner

__all__ = ["open_learner"]


def __getattr__(name: str) -> Any:
    """Imports torch when the entry point is first used."""
    if name not in __all__:
        raise AttributeError(name)
    from headrace.learning.torch import learner

    return getattr(learner, name)
