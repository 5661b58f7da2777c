"""Weights on disk, tokenizers, the prompt renderer, new small checkpoints.

May import foundation, log, events. torch and transformers only inside `models/torch/`; tokenizing and rendering need
only `tokenizers` and `jinja2`. No learning, no serving.
"""
