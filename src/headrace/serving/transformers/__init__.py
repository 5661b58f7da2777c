"""The engine for every causal checkpoint that transformers supports: the fallback if no lighter engine runs it.

The only part of this room that may import torch and transformers; loaded only in a replica's process.
"""
