"""Which of the learner's options a model keeps for life, and what `auto` means for it."""

from dataclasses import replace

from headrace.learning.learner import LearnerOptions

LORA_ABOVE = 50_000_000
"""Parameters above which `method: auto` is LoRA."""


def resolved(options: LearnerOptions, parameters: int) -> LearnerOptions:
    """The same with `auto` resolved, for a base model with this many parameters."""
    method = options.method
    if method == "auto":
        method = "lora" if parameters > LORA_ABOVE else "full"
    optimizer = options.optimizer
    if optimizer == "auto":
        optimizer = "muon" if method == "full" else "adamw"
    return replace(options, method=method, optimizer=optimizer)


def carried(begun: LearnerOptions, declared: LearnerOptions) -> LearnerOptions:
    """The declared options, except those that require a new model: they stay as `begun`."""
    return replace(
        declared, base=begun.base, method=begun.method, optimizer=begun.optimizer, seed=begun.seed,
        lora_rank=begun.lora_rank, device=begun.device,
    )  # fmt: skip
