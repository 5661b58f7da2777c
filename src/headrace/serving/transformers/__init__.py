"""The engine for every causal checkpoint that transformers knows: the fallback where no lighter one runs it.

The only place of this room that may import torch and transformers; loaded in a replica's process alone.
"""
