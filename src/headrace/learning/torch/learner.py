"""The learner on PyTorch and transformers: slots of weights that score, and one that is trained."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from headrace.foundation.errors import FinalError, InvalidDeclarationError, NotFoundError
from headrace.learning.learner import LEARNER, Learner, LearnerOptions, RoundReport, SequenceScore
from headrace.learning.method import carried, resolved
from headrace.learning.torch import checkpoint, optimizers, weights
from headrace.learning.torch.batch import Batch
from headrace.learning.torch.causal_model import CausalModel, can_pack, open_model, prepare_process
from headrace.learning.torch.packing import by_length, micro_batches
from headrace.learning.torch.trainee import Trainee
from headrace.learning.torch.weights import Weights
from headrace.models.checkpoint_check import CheckpointFacts, inspect_checkpoint
from headrace.models.checkpoint_files import WEIGHTS, copy_side_files
from headrace.models.sequence import TokenSequence

BASE = "base"
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_MAX_TOKENS = 16_384
"""Per packed batch: bounds the memory for activations."""
_MAX_LOGITS = 2**26
"""Size of one batch's logits: 256 MiB in fp32, several times that while learning."""


class TorchLearner:
    """See `headrace.learning.learner.Learner`. Slot `base` exists from the start; weights are fp32 in memory."""

    def __init__(self, options: LearnerOptions, facts: CheckpointFacts) -> None:
        prepare_process(options.threads)
        options = self._options = resolved(options, facts.parameters)
        self._dtype = _DTYPES.get(facts.dtype, torch.float32)
        self._device = _device(options.device)
        model = open_model(options.base, self._device)
        packs = can_pack(model)
        mixed = options.mixed_precision
        self._vocabulary = facts.vocabulary
        scorer = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        self._scorer = CausalModel(scorer, model.config, packs=packs, mixed_precision=mixed)
        self._scorer_tensors = weights.live(scorer)
        lora_rank = options.lora_rank if options.method == "lora" else None
        self._trainee = Trainee(model, lora_rank=lora_rank, seed=options.seed)
        self._learner = CausalModel(self._trainee.module, model.config, packs=packs, mixed_precision=mixed)
        shared = self._trainee.frozen()
        self._slots: dict[str, Weights] = {
            BASE: {name: shared.get(name, t.detach().clone()) for name, t in weights.live(scorer).items()}
        }
        self._on_disk = {BASE}
        self._restarted = False
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            self._random = torch.get_rng_state()
        self._begin()

    def _begin(self) -> None:
        """Fresh optimisers and a fresh warm-up."""
        options, trainee = self._options, self._trainee
        self._optimizers = optimizers.build(
            trainee.parameters,
            trainee.embeddings(),
            muon=options.optimizer == "muon",
            learning_rate=options.learning_rate,
        )
        self._steps_since_warm = 0

    def declare(self, options: LearnerOptions) -> None:
        options = self._options = carried(self._options, options)
        prepare_process(options.threads)
        for model in (self._scorer, self._learner):
            model.compute_with(mixed_precision=options.mixed_precision)

    def score(self, slot: str, sequences: Sequence[TokenSequence]) -> list[SequenceScore]:
        model = self._activate(slot)
        scores: dict[int, SequenceScore] = {}
        with torch.no_grad():
            for chosen in self._micro_batches(sequences, len(sequences)):
                batch = model.batch([sequences[index] for index in chosen])
                scores.update(zip(chosen, _judge(batch, model.logits(batch)), strict=True))
        return [scores[index] for index in range(len(sequences))]

    def _activate(self, slot: str) -> CausalModel:
        if slot == LEARNER:
            self._learner.module.eval()
            return self._learner
        chosen = self._weights(slot)
        for name, tensor in self._scorer_tensors.items():
            tensor.data = chosen[name]
        return self._scorer

    def _weights(self, slot: str) -> Weights:
        if slot not in self._slots:
            raise NotFoundError(f"unknown frozen slot {slot!r}; slots: {', '.join(self.slots())}")
        return self._slots[slot]

    def _micro_batches(self, sequences: Sequence[TokenSequence], at_most: int) -> list[list[int]]:
        for sequence in sequences:
            if not 0 < sequence.answer_start < len(sequence.ids):
                raise InvalidDeclarationError("a sequence needs an answer and at least one token before it")
        most_answers = max(1, _MAX_LOGITS // max(1, self._vocabulary))
        return micro_batches(
            sequences,
            by_length(sequences),
            at_most=max(1, at_most),
            max_tokens=_MAX_TOKENS,
            max_answer_tokens=most_answers,
        )

    def learn(self, epochs: Sequence[Sequence[TokenSequence]]) -> RoundReport:
        loss = math.nan
        answer_tokens = tokens = 0
        self._learner.module.train()
        with torch.random.fork_rng():
            torch.set_rng_state(self._random)
            for sequences in epochs:
                loss = self._step(sequences)
                answer_tokens += sum(len(s.ids) - s.answer_start for s in sequences)
                tokens += sum(len(s.ids) for s in sequences)
            self._random = torch.get_rng_state()
        return RoundReport(loss, len(epochs), answer_tokens, tokens, self._learning_rate(self._steps_since_warm - 1))

    def _step(self, sequences: Sequence[TokenSequence]) -> float:
        """One optimiser step over all sequences; the loss before it."""
        answers = sum(len(s.ids) - s.answer_start for s in sequences)
        share = math.ceil(len(sequences) / self._options.gradient_accumulation_steps)
        losses: list[Tensor] = []
        for chosen in self._micro_batches(sequences, share):
            batch = self._learner.batch([sequences[index] for index in chosen])
            loss = cross_entropy(self._learner.logits(batch), batch.targets, reduction="sum") / answers
            loss.backward()
            losses.append(loss.detach())
        total = float(torch.stack(losses).sum())
        if not math.isfinite(total):
            raise FinalError(
                f"the loss is {total} at step {self._steps_since_warm} since the warm-up began",
                next_step="Lower learningRate, or start from another base model.",
            )
        optimizers.set_learning_rate(self._optimizers, self._learning_rate(self._steps_since_warm))
        optimizers.step(self._optimizers, self._trainee.parameters)
        self._trainee.follow(self._options.average_decay)
        self._steps_since_warm += 1
        return total

    def _learning_rate(self, steps_since_warm: int) -> float:
        return optimizers.warmed_up(self._options.learning_rate, steps_since_warm, self._options.warmup_steps)

    def rewarm(self) -> None:
        self._steps_since_warm = 0

    def freeze(self, slot: str) -> None:
        self._put(slot, self._trainee.dense(averaged=True))

    def _put(self, slot: str, dense: Weights, *, on_disk: bool = False) -> None:
        """Slots contain what a version on disk would give back: rounded to the base's type, computed in fp32."""
        if slot == LEARNER:
            raise InvalidDeclarationError("the slot `learner` is being trained and cannot hold a frozen copy")
        self._slots[slot] = weights.rounded(weights.rounded(dense, self._dtype), torch.float32)
        (self._on_disk.add if on_disk else self._on_disk.discard)(slot)

    def move(self, source: str, target: str) -> None:
        self._put(target, self._weights(source), on_disk=source in self._on_disk)
        self.drop(source)

    def drop(self, slot: str) -> None:
        if slot not in self._slots:
            raise NotFoundError(f"unknown frozen slot {slot!r}; slots: {', '.join(self.slots())}")
        del self._slots[slot]
        self._on_disk.discard(slot)

    def slots(self) -> tuple[str, ...]:
        return (LEARNER, *sorted(self._slots))

    def load(self, slot: str, version: Path) -> None:
        dense = self._read(version)
        if slot != LEARNER:
            self._put(slot, dense, on_disk=True)
            return
        self._trainee.start(dense)
        self._restarted = True
        self._begin()

    def _read(self, version: Path) -> Weights:
        """A version's tensors under this model's names."""
        inspect_checkpoint(version)
        file = version / WEIGHTS
        tensors = weights.read_tensors(file, self._device) if file.is_file() else {}
        if tensors.keys() != self._scorer_tensors.keys():  # sharded, or named differently on disk than in memory
            tensors = {name: t.detach() for name, t in weights.live(open_model(version, self._device)).items()}
        wrong = [n for n, t in self._scorer_tensors.items() if n not in tensors or tensors[n].shape != t.shape]
        if wrong:
            raise InvalidDeclarationError(
                f"the version's {wrong[0]} does not match the base model {self._options.base}", where=str(version)
            )
        return weights.rounded(tensors, torch.float32)

    def export(self, slot: str, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        copy_side_files(self._options.base, path)
        weights.write_tensors(path / WEIGHTS, self._exported(slot))

    def _exported(self, slot: str) -> Weights:
        dense = self._trainee.dense(averaged=False) if slot == LEARNER else self._weights(slot)
        return weights.rounded(dense, self._dtype)

    def weights_sha256(self, slot: str) -> str:
        return weights.digest(self._exported(slot))

    def save(self, path: Path) -> None:
        trainee = self._trainee
        slots = {name: tensors for name, tensors in self._slots.items() if name not in self._on_disk}
        checkpoint.write(
            path,
            checkpoint.LearnerState(
                steps_since_warm=self._steps_since_warm,
                steps_averaged=trainee.steps_averaged,
                random=self._random,
                parameters={name: p.detach() for name, p in trainee.parameters},
                average=dict(zip((name for name, _ in trainee.parameters), trainee.average, strict=True)),
                optimizer=optimizers.dump(self._optimizers, trainee.parameters),
                shared=trainee.frozen() if self._restarted else {},
                slots=slots,
            ),
        )

    def restore(self, path: Path) -> None:
        state = checkpoint.read(path, self._device)
        trainee = self._trainee
        checkpoint.expect_same_tensors(path, state.parameters, dict(trainee.parameters))
        if self._restarted or state.shared:
            trainee.start({**self._slots[BASE], **state.shared})
        with torch.no_grad():
            for average, (name, parameter) in zip(trainee.average, trainee.parameters, strict=True):
                parameter.copy_(state.parameters[name])
                average.copy_(state.average[name])
        trainee.steps_averaged = state.steps_averaged
        self._begin()
        optimizers.put_back(self._optimizers, trainee.parameters, state.optimizer)
        self._steps_since_warm, self._random = state.steps_since_warm, state.random
        self._restarted = bool(state.shared)
        self._slots = {BASE: self._slots[BASE], **state.slots}
        self._on_disk = {BASE}


def _judge(batch: Batch, logits: Tensor) -> list[SequenceScore]:
    """Scores of the batch's sequences, in its order."""
    losses = cross_entropy(logits, batch.targets, reduction="none").double().cpu().tolist()
    predicted = logits.argmax(-1).cpu().tolist()
    targets = batch.targets.cpu().tolist()
    scores: list[SequenceScore] = []
    start = 0
    for count in batch.answers:
        end = start + count
        ids = tuple(predicted[start:end])
        scores.append(SequenceScore(ids == tuple(targets[start:end]), sum(losses[start:end]) / count, ids))
        start = end
    return scores


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InvalidDeclarationError(f"this machine has no device {name!r}: {error}") from error


def open_learner(options: LearnerOptions) -> Learner:
    """Opens the base model folder and creates the learner; NotFoundError, CorruptDataError, InvalidDeclarationError as in `inspect_checkpoint`."""
    return TorchLearner(options, inspect_checkpoint(options.base))
