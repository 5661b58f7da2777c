"""The NumPy-only engine for Llama-shaped checkpoints: a serving process starts in a third of a second, without torch.

May import the room's port, numpy and safetensors. Never torch.
"""
