"""The engine for Llama-shaped checkpoints in numpy alone: a process that serves starts in a third of a second, without torch.

May import the room's port, numpy and safetensors. Never torch.
"""
