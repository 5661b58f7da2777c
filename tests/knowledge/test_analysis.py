"""Terms are the same however a text is written, and are nothing but words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.knowledge.analysis import term_counts, terms


def test_words_are_found_without_case_accents_width_and_endings() -> None:
    assert terms("Fées") == terms("fees") == terms("FEE") == terms("ｆｅｅｓ")
    assert terms("connected connection") == terms("connecting CONNECTIONS")
    assert terms("Straße") == terms("STRASSE")


def test_numbers_and_other_scripts_are_words_too() -> None:
    assert terms("3.5 % of 1200") == ("3", "5", "of", "1200")
    assert len(terms("комиссия за карту")) == 3


@pytest.mark.parametrize("text", ["", " ", "\x00", "?!…", "-- ' \" ( ) * : ^ ~", "\ud800"])
def test_what_holds_no_word_has_no_term(text: str) -> None:
    assert terms(text) == ()
    assert term_counts(text) == {}


@given(st.text())
def test_no_term_is_empty_and_all_are_words(text: str) -> None:
    for term in terms(text):
        assert term
        assert len(term) <= 64
        assert term.replace("_", "a").isalnum()


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_the_way_of_writing_letters_does_not_matter(text: str) -> None:
    expected = terms(text)
    assert terms(unicodedata.normalize("NFD", text)) == expected
    assert terms(unicodedata.normalize("NFKC", text)) == expected


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz äöüéß'-.,_0123456789"))
def test_case_does_not_matter(text: str) -> None:
    assert terms(text.upper()) == terms(text) == terms(text.title())


@given(st.lists(st.text(alphabet="abcxyz ä1", max_size=20), max_size=5))
def test_the_terms_of_joined_texts_are_the_terms_of_the_texts(texts: list[str]) -> None:
    assert terms(" \n".join(texts)) == tuple(term for text in texts for term in terms(text))


@given(st.text())
def test_counts_are_those_of_the_terms(text: str) -> None:
    found = terms(text)
    assert term_counts(text) == {term: found.count(term) for term in found}
