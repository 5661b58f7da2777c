"""New small checkpoints: the same for the same seed, and what transformers makes of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from headrace.models.checkpoint_check import inspect_checkpoint
from headrace.models.tiny import SHAPES, new_checkpoint
from headrace.models.word_tokenizer import train_word_tokenizer

SAMPLES = ["Where is my card?", "card_arrival | cards", '{"intent": "card_arrival"}']
TOKENIZER: Tokenizer = train_word_tokenizer(SAMPLES, vocabulary=600)


def pieces(text: str) -> list[str]:
    return [TOKENIZER.decode([token]) for token in TOKENIZER.encode(text).ids]


def test_the_same_seed_and_text_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        new_checkpoint(tmp_path / name, size="tiny", text=SAMPLES, seed=seed)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    weights = "model.safetensors"
    assert (tmp_path / "one" / weights).read_bytes() != (tmp_path / "three" / weights).read_bytes()


def test_the_tiny_size_is_what_its_name_says(tmp_path: Path) -> None:
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}{j}" for i in range(600) for j in "abc"]
    new_checkpoint(tmp_path / "tiny", size="tiny", text=words)
    facts = inspect_checkpoint(tmp_path / "tiny")
    assert (facts.parameters, facts.vocabulary) == (169_280, SHAPES["tiny"].vocabulary)
    assert facts.architecture == "LlamaForCausalLM"
    assert facts.dtype == "F32"


def test_a_checkpoint_is_not_written_over_another(tiny: Path) -> None:
    with pytest.raises(FileExistsError):
        new_checkpoint(tiny, size="tiny", text=SAMPLES)


def test_a_vocabulary_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too small"):
        new_checkpoint(tmp_path / "x", size="tiny", text=SAMPLES, vocabulary=100)


def test_words_of_the_samples_are_one_token_each() -> None:
    assert pieces("card_arrival | cards") == ["card_arrival", " |", " cards"]
    assert pieces(" Where is my card?") == [" Where", " is", " my", " card", "?"]


def test_a_number_is_cut_into_groups_of_two_digits() -> None:
    assert pieces("12345.67") == ["12", "34", "5", ".", "67"]
    assert pieces(" 2019-10-11") == [" 20", "19", "-", "10", "-", "11"]


def test_an_unknown_word_is_spelled_with_the_fewest_known_pieces() -> None:
    assert pieces(" cardxy") == [" card", "x", "y"]


@given(st.text(max_size=60))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_transformers_reads_the_same_tokens_and_template(tiny: Path) -> None:
    from transformers import AutoTokenizer

    from headrace.events.message import Message
    from headrace.models.renderer import open_renderer

    renderer, theirs = open_renderer(tiny), AutoTokenizer.from_pretrained(tiny)
    for text in ("Where is my card? 12345.6", "ÄÖ 日本 \n\n  x  ", '{"a": 1}'):
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        expected = theirs.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
        assert list(renderer.prompt([Message("system", "Be brief."), Message("user", text)])) == list(expected)
        answer = renderer.example([Message("user", "q")], text).answer_ids
        assert theirs.decode(list(answer), skip_special_tokens=True) == text
    assert theirs.eos_token_id == renderer.end_token_id
    assert len(theirs) == renderer.vocabulary_size
