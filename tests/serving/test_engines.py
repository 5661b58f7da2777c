"""Both engines against transformers' own forward pass."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from headrace.foundation.errors import InvalidDeclarationError
from headrace.serving.checkpoint import read_config
from headrace.serving.engine import Engine
from headrace.serving.engines import ENGINES, engine_for
from headrace.testing.engine_serving_conformance import EngineConformance, Reference
from headrace.testing.lazy import Lazy

torch, transformers = Lazy("torch"), Lazy("transformers")
_SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.3, "eos_token_id": 1,
    "bos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
ARCHITECTURES: dict[str, Callable[[], object]] = {
    "llama with one key head per query head": lambda: transformers.LlamaConfig(**{**_SMALL, "num_key_value_heads": 4}),
    "llama with biases, tied": lambda: transformers.LlamaConfig(
        **_SMALL, tie_word_embeddings=True, attention_bias=True, mlp_bias=True
    ),
    "llama with stretched positions": lambda: transformers.LlamaConfig(**_SMALL, rope_parameters=_LLAMA3),
    "llama with scaled positions": lambda: transformers.LlamaConfig(
        **_SMALL, rope_parameters={"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}
    ),
    "mistral": lambda: transformers.MistralConfig(**_SMALL, sliding_window=None),
    "qwen2": lambda: transformers.Qwen2Config(**_SMALL),
    "qwen3": lambda: transformers.Qwen3Config(**_SMALL, head_dim=16),
    "mistral with a sliding window": lambda: transformers.MistralConfig(**_SMALL, sliding_window=16),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3, bos_token_id=1,
        eos_token_id=1,
    ),
}  # fmt: skip
NEEDS_TRANSFORMERS = {"mistral with a sliding window", "gpt2"}


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def checkpoint(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose norms and biases are not their first values."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(ARCHITECTURES[architecture]())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * (0.2 if "norm" in name or "ln_" in name else 0.1))
    path = tmp_path_factory.mktemp("checkpoint") / "v1"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def logits(ids: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.tensor([list(ids)])).logits[0].numpy()

    return logits


class WithSafetensors(EngineConformance):
    """What is broken is the same for engines that read safetensors."""

    def broken_copies(self, checkpoint: Path, target: Path) -> Sequence[Path]:
        whole = (checkpoint / "model.safetensors").read_bytes()
        contents = {"cut": whole[: len(whole) // 2], "header": whole[:6], "empty": b"", "noise": b"\xff" * 64}
        for name, content in contents.items():
            shutil.copytree(checkpoint, target / name)
            (target / name / "model.safetensors").write_bytes(content)
        shutil.copytree(checkpoint, target / "wider")
        config = json.loads((checkpoint / "config.json").read_text())
        key = "intermediate_size" if "intermediate_size" in config else "n_inner"
        (target / "wider" / "config.json").write_text(json.dumps({**config, key: 200}))
        return [target / name for name in (*contents, "wider")]


class TestNumpy(WithSafetensors):
    @pytest.fixture
    def engine(self, architecture: str) -> Engine:
        if architecture in NEEDS_TRANSFORMERS:
            pytest.skip("the transformers engine runs this one")
        return ENGINES["numpy"]()


class TestTransformers(WithSafetensors):
    @pytest.fixture
    def engine(self) -> Engine:
        return ENGINES["transformers"]()


def test_the_lightest_engine_that_runs_a_checkpoint_is_chosen(checkpoint: Path, architecture: str) -> None:
    expected = "transformers" if architecture in NEEDS_TRANSFORMERS else "numpy"
    assert engine_for(checkpoint).name == expected


def test_an_engine_that_is_asked_for_by_name_must_run_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert read_config(tmp_path).model_type == "gpt2"
    with pytest.raises(InvalidDeclarationError, match="numpy: model_type 'gpt2' is not one of"):
        engine_for(tmp_path, "numpy")
    with pytest.raises(InvalidDeclarationError, match="unknown engine 'vllm'"):
        engine_for(tmp_path, "vllm")
