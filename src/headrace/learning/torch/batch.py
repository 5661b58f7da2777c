"""Token sequences as tensors: one flat sequence with answer positions and targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headrace.learning.torch.attention import Block, to_blocks
from headrace.learning.torch.packing import CALL_COST, cut_groups
from headrace.models.sequence import TokenSequence


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences in ascending order of length, concatenated."""

    ids: Tensor
    """[1, tokens]"""
    positions: Tensor
    """[1, tokens]: restart at every sequence"""
    reads: Tensor
    """[answer tokens]: position of each answer token's logits (one before the token)"""
    targets: Tensor
    """[answer tokens]"""
    blocks: list[Block]
    answers: tuple[int, ...]
    """Answer tokens of each sequence, end token included."""
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]


def to_batch(sequences: Sequence[TokenSequence], *, hidden: int, device: torch.device) -> Batch:
    """Packs sequences that are already in ascending order of length; `hidden` weighs arithmetic against calls."""
    lengths = [len(sequence.ids) for sequence in sequences]
    total = sum(lengths)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    ids = np.fromiter((token for sequence in sequences for token in sequence.ids), np.int64, total)
    positions = np.arange(total) - np.repeat(starts, lengths)
    reads = np.concatenate(
        [
            np.arange(start + sequence.answer_start, end)
            for start, end, sequence in zip(starts, ends, sequences, strict=True)
        ]
    )
    return Batch(
        ids=torch.from_numpy(ids)[None].to(device),
        positions=torch.from_numpy(positions)[None].to(device),
        reads=torch.from_numpy(reads - 1).to(device),
        targets=torch.from_numpy(ids[reads]).to(device),
        blocks=to_blocks(cut_groups(lengths, CALL_COST / hidden), device),
        answers=tuple(length - sequence.answer_start for length, sequence in zip(lengths, sequences, strict=True)),
        lengths=tuple(lengths),
    )
