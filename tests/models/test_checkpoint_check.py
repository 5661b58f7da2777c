"""A checkpoint is looked at before it is loaded: whole, safe, and what is in it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.models.checkpoint_check import inspect_checkpoint
from headrace.models.checkpoint_files import copy_side_files

WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_it_counts_parameters_without_loading_them(copy: Path) -> None:
    facts = inspect_checkpoint(copy)
    assert facts.parameters == sum(array.size for array in load_file(copy / WEIGHTS).values())
    assert (facts.dtype, facts.context, facts.files) == ("F32", 1024, (WEIGHTS,))


def test_shards_count_together_and_a_missing_one_is_named(copy: Path) -> None:
    arrays = load_file(copy / WEIGHTS)
    names = sorted(arrays)
    whole = inspect_checkpoint(copy).parameters
    save_file({name: arrays[name] for name in names[:3]}, copy / "a.safetensors")
    save_file({name: arrays[name] for name in names[3:]}, copy / "b.safetensors")
    (copy / WEIGHTS).unlink()
    index = {"weight_map": {name: "a.safetensors" if name in names[:3] else "b.safetensors" for name in names}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = inspect_checkpoint(copy)
    assert (facts.parameters, facts.files) == (whole, ("a.safetensors", "b.safetensors"))
    (copy / "b.safetensors").unlink()
    with pytest.raises(CorruptDataError, match=r"b\.safetensors is missing"):
        inspect_checkpoint(copy)


def test_the_type_of_most_numbers_is_told(copy: Path) -> None:
    save_file({"a": np.zeros(5, np.float16), "b": np.zeros(2, np.float32)}, copy / WEIGHTS)
    assert inspect_checkpoint(copy).dtype == "F16"


def test_what_is_not_there_is_said_so(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        inspect_checkpoint(tmp_path / "nothing")
    (copy / WEIGHTS).unlink()
    with pytest.raises(NotFoundError, match=WEIGHTS):
        inspect_checkpoint(copy)
    (copy / "config.json").unlink()
    with pytest.raises(NotFoundError, match=r"config\.json"):
        inspect_checkpoint(copy)


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / "pytorch_model.bin")
    with pytest.raises(InvalidDeclarationError, match="only safetensors"):
        inspect_checkpoint(copy)


@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json", "modeling_x.py"])
def test_a_repositorys_own_code_is_refused(copy: Path, place: str) -> None:
    file = copy / place
    if file.suffix == ".py":
        file.write_text("raise SystemExit")
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(InvalidDeclarationError, match="never runs"):
        inspect_checkpoint(copy)


def test_every_cut_of_the_weights_is_noticed(copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    for size in (0, 5, 8, 100, len(whole) // 2, len(whole) - 1):
        (copy / WEIGHTS).write_bytes(whole[:size])
        with pytest.raises(CorruptDataError, match=r"model\.safetensors"):
            inspect_checkpoint(copy)
    (copy / WEIGHTS).write_bytes(whole + b"x")
    with pytest.raises(CorruptDataError, match="bytes"):
        inspect_checkpoint(copy)


def test_a_config_that_is_no_object_is_corrupt(copy: Path) -> None:
    for text in ("{", "[]"):
        (copy / "config.json").write_text(text)
        with pytest.raises(CorruptDataError, match=r"config\.json"):
            inspect_checkpoint(copy)


def test_side_files_are_copied_with_a_template_and_without_weights_or_code(copy: Path, tmp_path: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    (copy / "LICENSE").write_text("free")
    (copy / "run.py").write_text("x")
    (target := tmp_path / "target").mkdir()
    copy_side_files(copy, target)
    names = {file.name for file in target.iterdir()}
    assert names == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
        "LICENSE",
    }
    assert "Assistant:" in (target / "chat_template.jinja").read_text()
