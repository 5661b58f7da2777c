"""The numerical learner on PyTorch: packed training, scoring, LoRA, checkpoints. `open_learner` is the entry point.

May import what learning may, and torch, transformers and peft (peft only for LoRA). No topic, no stage, no clock.
"""

from headrace.learning.torch.learner import open_learner

__all__ = ["open_learner"]
