"""Weights on disk, tokenizers, the prompt renderer, new small checkpoints.

May import foundation, log, events. torch and transformers only inside `models/torch/`; tokenizing and rendering need
`tokenizers` and `jinja2` alone. No learning, no serving.
"""
