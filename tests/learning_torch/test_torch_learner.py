"""What the PyTorch learner promises beyond the port: equal to plain Hugging Face code, for many architectures."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.foundation.errors import CorruptDataError, HeadraceError, InvalidDeclarationError, NotFoundError
from headrace.learning.learner import LEARNER, Learner, LearnerOptions
from headrace.models.sequence import TokenSequence
from headrace.testing.lazy import Lazy
from headrace.testing.learner_conformance import LearnerConformance, greedy, toy

torch, transformers = Lazy("torch"), Lazy("transformers")
torch_learning, torch_learner = Lazy("headrace.learning.torch"), Lazy("headrace.learning.torch.learner")
causal_model, muon = Lazy("headrace.learning.torch.causal_model"), Lazy("headrace.learning.torch.muon")
SMALL = {
    "vocab_size": 512,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "llama with grouped queries": lambda: transformers.LlamaConfig(**SMALL, intermediate_size=48, num_key_value_heads=2),
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8),
    "mistral with a window": lambda: transformers.MistralConfig(**SMALL, intermediate_size=48, num_key_value_heads=4, sliding_window=64),
    "gpt-2": lambda: transformers.GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=256, attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0),
    "gpt-neox": lambda: transformers.GPTNeoXConfig(**SMALL, intermediate_size=48),
    "gemma2 with soft caps": lambda: transformers.Gemma2Config(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8),
}  # fmt: skip


def write_model(path: Path, config: Any, base: Path, *, dtype: str = "float32") -> Path:
    """A random model of some architecture beside the tiny model's tokenizer."""
    shutil.copytree(
        base, path, ignore=shutil.ignore_patterns("model.safetensors", "config.json", "generation_config.json")
    )
    torch.manual_seed(0)
    config.eos_token_id, config.pad_token_id, config.bos_token_id = 2, 1, None
    transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).save_pretrained(path)
    return path


def plain_losses(path: Path, samples: list[TokenSequence]) -> list[float]:
    """Mean loss per sequence, one at a time, by transformers alone."""
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    losses: list[float] = []
    for sample in samples:
        ids = torch.tensor([sample.ids])
        with torch.no_grad():
            logits = model(ids).logits[0, sample.answer_start - 1 : -1]
        losses.append(float(torch.nn.functional.cross_entropy(logits, ids[0, sample.answer_start :])))
    return losses


class TestLoraLearner(LearnerConformance):
    """The same suite where only adapters learn."""

    def open(self, options: LearnerOptions) -> Learner:
        learner = torch_learning.open_learner(options)
        assert isinstance(learner, torch_learner.TorchLearner)
        return learner

    def options(self, base: Path) -> LearnerOptions:
        return replace(super().options(base), method="lora", learning_rate=2e-2, lora_rank=8)

    def test_the_learning_rate_warms_up_and_again_after_a_drift(self, opened: Any) -> None:
        rates = [opened.learn([toy(4)]).learning_rate for _ in range(2)]
        assert rates == pytest.approx([5e-3, 1e-2])

    def test_it_learns(self, opened: Any) -> None:
        first = opened.learn([toy(16)])
        losses = [opened.learn([toy(16, start=16 * number)]).loss for number in range(1, 30)]
        assert losses[-1] < first.loss / 2

    def test_adapters_alone_are_saved_and_what_they_leave_alone_is_shared(self, opened: Any, tmp_path: Path) -> None:
        opened.learn([toy(8)])
        opened.save(tmp_path / "saved")
        opened.freeze("candidate")
        slots = opened._slots
        shared = [
            name for name in slots["base"] if slots["base"][name].data_ptr() == slots["candidate"][name].data_ptr()
        ]
        assert "model.embed_tokens.weight" in shared
        assert not any("q_proj" in name for name in shared)
        names = {file.name for file in (tmp_path / "saved").iterdir()}
        assert "shared.safetensors" not in names


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_architecture_scores_and_learns_as_without_packing(
    name: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model", ARCHITECTURES[name](), tiny_checkpoint)
    samples = toy(11)
    learner = torch_learning.open_learner(LearnerOptions(base=path, learning_rate=1e-3, device="cpu"))
    expected = plain_losses(path, samples)
    assert [score.loss for score in learner.score("base", samples)] == pytest.approx(expected, abs=1e-5)
    tokens = [len(sample.answer_ids) for sample in samples]
    mean = sum(loss * count for loss, count in zip(expected, tokens, strict=True)) / sum(tokens)
    assert learner.learn([samples]).loss == pytest.approx(mean, abs=1e-5)
    learner.export(LEARNER, tmp_path / "out")
    after = [score.loss for score in learner.score(LEARNER, samples)]
    assert plain_losses(tmp_path / "out", samples) == pytest.approx(after, abs=1e-5)


def test_only_what_can_be_packed_is_packed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    packs = {
        name: causal_model.can_pack(
            causal_model.open_model(write_model(tmp_path / str(number), make(), tiny_checkpoint), torch.device("cpu"))
        )
        for number, (name, make) in enumerate(ARCHITECTURES.items())
    }
    assert packs == {name: name != "gemma2 with soft caps" for name in ARCHITECTURES}


def test_the_gradient_is_that_of_the_sequences_one_by_one(tiny_checkpoint: Path) -> None:
    samples = sorted(toy(9), key=lambda sample: len(sample.ids))
    model = causal_model.open_model(tiny_checkpoint, torch.device("cpu"))
    assert causal_model.can_pack(model)
    packed = causal_model.CausalModel(model, model.config, packs=True, mixed_precision=False)
    batch = packed.batch(samples)
    torch.nn.functional.cross_entropy(packed.logits(batch), batch.targets, reduction="sum").backward()
    given = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    plain = transformers.AutoModelForCausalLM.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    for sample in samples:
        ids = torch.tensor([sample.ids])
        logits = plain(ids).logits[0, sample.answer_start - 1 : -1]
        torch.nn.functional.cross_entropy(logits, ids[0, sample.answer_start :], reduction="sum").backward()
    assert given
    for name, p in plain.named_parameters():
        torch.testing.assert_close(given[name], p.grad, atol=1e-4, rtol=1e-4)


def test_an_exact_score_is_what_transformers_generates(tiny_checkpoint: Path, tmp_path: Path) -> None:
    learner = torch_learning.open_learner(
        LearnerOptions(base=tiny_checkpoint, learning_rate=5e-3, batch_size=16, warmup_steps=2)
    )
    for number in range(25):
        learner.learn([toy(16, start=16 * number)])
    learner.freeze("candidate")
    learner.export("candidate", tmp_path / "version")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "version").eval()
    samples = toy(12, start=900)
    exact = [score.exact for score in learner.score("candidate", samples)]
    assert any(exact)
    for sample, one in zip(samples, exact, strict=True):
        prompt = torch.tensor([sample.ids[: sample.answer_start]])
        written = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=3, do_sample=False)
        assert one == (tuple(written[0, prompt.shape[1] :].tolist()) == sample.answer_ids)
        assert greedy(learner, "candidate", sample.ids[: sample.answer_start], 3)[:1] == (
            int(written[0, prompt.shape[1]]),
        )


def test_a_bf16_base_keeps_its_type_on_disk_and_its_slots_equal_their_versions(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = transformers.LlamaConfig(**SMALL, intermediate_size=48, tie_word_embeddings=True)
    path = write_model(tmp_path / "model", config, tiny_checkpoint, dtype="bfloat16")
    learner = torch_learning.open_learner(LearnerOptions(base=path, learning_rate=1e-3))
    learner.learn([toy(8)])
    learner.freeze("candidate")
    learner.export("candidate", tmp_path / "version")
    learner.load("served", tmp_path / "version")
    assert learner.weights_sha256("served") == learner.weights_sha256("candidate")
    assert learner.score("served", toy(7)) == learner.score("candidate", toy(7))
    assert transformers.AutoConfig.from_pretrained(tmp_path / "version").dtype == torch.bfloat16
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "version").dtype == torch.bfloat16


def test_mixed_precision_learns_nearly_the_same_loss(tiny_checkpoint: Path) -> None:
    losses: dict[bool, list[float]] = {}
    for mixed in (False, True):
        learner = torch_learning.open_learner(
            LearnerOptions(base=tiny_checkpoint, learning_rate=1e-3, mixed_precision=mixed)
        )
        losses[mixed] = [learner.learn([toy(8, start=8 * number)]).loss for number in range(3)]
    assert losses[True] == pytest.approx(losses[False], abs=0.15)
    assert losses[True] != losses[False]


def test_stacked_muon_steps_as_torchs_own() -> None:
    torch.manual_seed(0)
    shapes = [(16, 16), (16, 16), (24, 16), (16, 24)]
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    own = muon.StackedMuon(mine, lr=1e-2)
    reference = torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        own.step()
        reference.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)  # theirs orthogonalises in bf16


def test_the_method_follows_the_size_of_the_model(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.learning.method.LORA_ABOVE", 1000)
    learner = torch_learning.open_learner(LearnerOptions(base=tiny_checkpoint))
    assert isinstance(learner, torch_learner.TorchLearner)
    assert learner._trainee.lora
    assert [type(one).__name__ for one in learner._optimizers] == ["AdamW"]


def test_a_loss_that_is_no_number_stops_with_advice(tiny_checkpoint: Path, tmp_path: Path) -> None:
    learner = torch_learning.open_learner(
        LearnerOptions(base=tiny_checkpoint, learning_rate=1e30, warmup_steps=0, optimizer="adamw")
    )
    rounds = [toy(8, start=number) for number in range(9)]
    with pytest.raises(HeadraceError, match="learningRate"):
        learner.learn(rounds)


def test_what_cannot_be_opened_or_loaded_says_why(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        torch_learning.open_learner(LearnerOptions(base=tmp_path / "nothing"))
    with pytest.raises(InvalidDeclarationError, match="no device"):
        torch_learning.open_learner(LearnerOptions(base=tiny_checkpoint, device="cuda:63"))
    learner = torch_learning.open_learner(LearnerOptions(base=tiny_checkpoint))
    other = write_model(tmp_path / "other", transformers.LlamaConfig(**SMALL, intermediate_size=48), tiny_checkpoint)
    with pytest.raises(InvalidDeclarationError, match="not match the base model"):
        learner.load("served", other)
    cut = Path(shutil.copytree(tiny_checkpoint, tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-7])
    with pytest.raises(CorruptDataError, match=r"model\.safetensors"):
        learner.load("served", cut)
    wrong = json.loads((cut / "config.json").read_text()) | {"model_type": "no_such_model"}
    shutil.copyfile(tiny_checkpoint / "model.safetensors", cut / "model.safetensors")
    (cut / "config.json").write_text(json.dumps(wrong))
    with pytest.raises(CorruptDataError, match="cannot be loaded"):
        torch_learning.open_learner(LearnerOptions(base=cut))


def test_a_checkpoint_of_another_model_or_a_newer_version_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", transformers.LlamaConfig(**SMALL, intermediate_size=48), tiny_checkpoint)
    torch_learning.open_learner(LearnerOptions(base=other)).save(tmp_path / "saved")
    learner = torch_learning.open_learner(LearnerOptions(base=tiny_checkpoint))
    with pytest.raises(InvalidDeclarationError, match="base model"):
        learner.restore(tmp_path / "saved")
    manifest = tmp_path / "saved" / "learner.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(HeadraceError, match="version 2"):
        learner.restore(tmp_path / "saved")
    with pytest.raises(NotFoundError):
        learner.restore(tmp_path / "nothing")


def test_dropout_is_repeated_after_a_restore(tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**SMALL, intermediate_size=48, attention_dropout=0.3)
    options = LearnerOptions(base=write_model(tmp_path / "model", config, tiny_checkpoint), learning_rate=1e-3)
    first, second = torch_learning.open_learner(options), torch_learning.open_learner(options)
    first.learn([toy(8)])
    first.save(tmp_path / "saved")
    torch.manual_seed(99)
    second.restore(tmp_path / "saved")
    for learner in (first, second):
        learner.learn([toy(8)])
    assert first.weights_sha256(LEARNER) == second.weights_sha256(LEARNER)
