import itertools
import json
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.knowledge.analysis import term_counts
from headrace.knowledge.chunking import ChunkOptions, chunk, chunker_name
from headrace.knowledge.markdown_blocks import blocks_of
from headrace.knowledge.revision import Chunk


class Words:
    """A counter like a word piece tokenizer: four letters a token, marks by themselves."""

    def __init__(self, max_tokens: int = 10_000) -> None:
        self.max_tokens = max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [sum(-(-len(piece) // 4) for piece in re.findall(r"\w+|[^\w\s]", text)) for text in texts]


COUNTER = Words()


def cut(
    text: str, *, media: str = "markdown", title: str = "", max_tokens: int = 60, overlap: int = 8
) -> tuple[Chunk, ...]:
    return chunk(text, media, title, ChunkOptions(max_tokens, overlap), COUNTER)


def tokens(one: Chunk) -> int:
    return COUNTER.count_tokens([one.embedded])[0]


PARAGRAPH = "Cards are sent by post. The fee is two euros, and nobody pays it twice. Ask at the desk."
GUIDE = "\n\n".join(
    ["# Cards", PARAGRAPH, "## Fees", PARAGRAPH, PARAGRAPH, PARAGRAPH, "### Abroad", PARAGRAPH, "## Limits", PARAGRAPH]
)

words = st.text(alphabet="abcdefgh", min_size=1, max_size=12)
sentences = st.lists(words, min_size=1, max_size=12).map(" ".join)
markdown = st.lists(
    st.one_of(
        sentences,
        sentences.map("# {}".format),
        sentences.map("### {}".format),
        sentences.map("- {}".format),
        sentences.map("```\n{}\n\nmore\n```".format),
        sentences.map("| a | b |\n| --- | --- |\n| {} | c |".format),
        st.text(max_size=40),
        st.just("x" * 300),
        st.just("\u00e9\u4e2d\U0001f600 " * 30),
    ),
    max_size=14,
).map("\n\n".join)


@given(markdown, st.sampled_from(["markdown", "plain"]), st.integers(4, 60), st.integers(0, 30), sentences)
@settings(max_examples=150, deadline=None)
def test_every_letter_stands_in_a_chunk_in_order_and_no_chunk_is_too_long(text, media, max_tokens, overlap, title):
    found = cut(text, media=media, title=title, max_tokens=max_tokens, overlap=overlap)
    end = 0
    for one in found:
        assert text[one.start : one.start + len(one.text)] == one.text
        assert not text[end : one.start].strip()
        end = max(end, one.start + len(one.text))
        assert tokens(one) <= max_tokens
        assert one.terms == term_counts(one.embedded)
    assert not text[end:].strip()
    assert [one.index for one in found] == list(range(len(found)))
    assert [one.start for one in found] == sorted(one.start for one in found)


def test_a_text_without_letters_has_no_chunk():
    assert cut("") == ()
    assert cut(" \n\n\t\n") == ()


def test_a_chunk_knows_the_headings_above_it():
    places = {one.text.split("\n")[0]: one.headings for one in cut(GUIDE, title="Guide")}
    assert places["# Cards"] == ("Guide",)
    assert places["## Fees"] == ("Guide", "Cards")
    assert places["### Abroad"] == ("Guide", "Cards", "Fees")
    assert places["## Limits"] == ("Guide", "Cards")


def test_what_goes_on_in_a_section_has_its_heading_above_it():
    behind = [one for one in cut(GUIDE, title="Guide") if not one.text.startswith("#")]
    assert behind
    assert all(one.headings == ("Guide", "Cards", "Fees") for one in behind)


def test_a_title_that_is_the_first_heading_stands_once():
    first, *_ = cut(GUIDE, title="Cards")
    assert first.headings == ()
    assert first.embedded.count("Cards") == PARAGRAPH.count("Cards") + 1


def test_a_heading_stays_with_the_text_below_it():
    assert not any(one.text.splitlines()[-1].startswith("#") for one in cut(GUIDE, title="Guide"))


def test_tables_and_fences_that_fit_stay_whole():
    table = "| card | fee |\n| --- | --- |\n" + "\n".join(f"| c{n} | {n} |" for n in range(5))
    fence = "```python\na = 1\n\n# not a heading\n\nb = 2\n```"
    text = "\n\n".join([PARAGRAPH, table, PARAGRAPH, fence, PARAGRAPH])
    found = [one.text for one in cut(text)]
    assert sum(table in one for one in found) == 1
    assert sum(fence in one for one in found) == 1
    assert all(one.headings == () for one in cut(text))


def test_an_underlined_line_is_a_heading():
    text = "Fees\n====\n\n" + "\n\n".join([PARAGRAPH] * 4)
    assert cut(text)[-1].headings == ("Fees",)


def test_a_rule_below_a_table_or_a_list_is_none():
    assert [block.level for block in blocks_of("- one\n---\n\n| a |\n| --- |\n", "markdown")] == [0, 0]


def test_plain_text_has_no_headings():
    assert {one.headings for one in cut("# no heading\n\n" + "\n\n".join([PARAGRAPH] * 4), media="plain")} == {()}


def test_neighbours_share_at_most_the_overlap():
    text = " ".join(f"This is sentence {n}." for n in range(200))
    found = cut(text)
    shared = [text[after.start : before.start + len(before.text)] for before, after in itertools.pairwise(found)]
    assert all(0 < count <= 8 for count in COUNTER.count_tokens(shared))


def test_without_overlap_nothing_is_shared():
    found = cut(" ".join(f"This is sentence {n}." for n in range(200)), overlap=0)
    assert all(a.start + len(a.text) <= b.start for a, b in itertools.pairwise(found))


def changed_by_a_new_paragraph(paragraphs: list[str]) -> list[int]:
    """How many chunks are new, for each place where the paragraph may stand."""

    def hashes(some: list[str]) -> set[str]:
        return {one.hash for one in cut("\n\n".join(some), max_tokens=200, overlap=20)}

    before = hashes(paragraphs)
    new = "Something new stands here since today."
    return [len(hashes([*paragraphs[:at], new, *paragraphs[at:]]) - before) for at in range(len(paragraphs))]


def test_a_new_paragraph_changes_at_most_three_chunks_of_a_document_with_sections():
    paragraphs = [f"Paragraph {n}. " + PARAGRAPH * (1 + n % 3) for n in range(60)]
    for place in range(0, 75, 5):
        paragraphs.insert(place, f"## Section {place}")
    changed = changed_by_a_new_paragraph(paragraphs)
    assert max(changed) <= 3
    assert sum(changed) / len(changed) < 2


def test_a_new_paragraph_changes_few_chunks_of_a_document_without_any_section():
    changed = changed_by_a_new_paragraph([f"Paragraph {n}. {PARAGRAPH} {PARAGRAPH}" for n in range(80)])
    assert sum(changed) / len(changed) < 3


def test_the_model_never_cuts_a_chunk():
    found = chunk(GUIDE, "markdown", "Guide", ChunkOptions(1_000, 20), Words(max_tokens=42))
    assert max(map(tokens, found)) <= 40


def test_headings_that_would_fill_a_chunk_go_outermost_first():
    title = "A very long title that goes on and on until nobody reads it any more, and then a little further"
    found = cut(f"## Fees\n\n{PARAGRAPH}\n\n{PARAGRAPH}\n\n{PARAGRAPH}", title=title, max_tokens=40)
    assert found[-1].headings == ("Fees",)


def test_counts_that_do_not_add_up_are_found_out():
    class Rough(Words):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [
                count + 3 * text.count("\n\n") for count, text in zip(super().count_tokens(texts), texts, strict=True)
            ]

    counter = Rough()
    found = chunk("\n\n".join(["one two three"] * 60), "plain", "", ChunkOptions(20, 0), counter)
    assert max(counter.count_tokens([one.embedded for one in found])) <= 20


@pytest.mark.slow
def test_a_document_of_very_many_lines_is_cut_with_a_few_counts_for_each():
    counter = Words()
    counted = 0

    def count_tokens(texts: Sequence[str]) -> list[int]:
        nonlocal counted
        counted += sum(map(len, texts))
        return Words.count_tokens(counter, texts)

    counter.count_tokens = count_tokens
    text = "\n".join(f"line {n} of a long document" for n in range(50_000))
    found = chunk(text, "markdown", "", ChunkOptions(200, 20), counter)
    assert len(found) > 1_000
    assert counted < 3 * len(text)


def test_what_stays_as_it_was_is_not_counted_again():
    counter = Words()
    paragraphs = [f"Paragraph {n}. {PARAGRAPH} {PARAGRAPH}" for n in range(80)]
    chunk("\n\n".join(paragraphs), "markdown", "", ChunkOptions(200, 20), counter)
    asked: list[str] = []
    counter.count_tokens = lambda texts: asked.extend(texts) or Words.count_tokens(counter, texts)
    paragraphs[40] += " Something new."
    chunk("\n\n".join(paragraphs), "markdown", "", ChunkOptions(200, 20), counter)
    assert 0 < sum(map(len, asked)) < 8_000


def test_one_long_line_is_split_in_linear_time():
    found = chunk("word " * 40_000, "markdown", "", ChunkOptions(200, 20), COUNTER)
    assert len(found) >= 200


@pytest.mark.parametrize("other", [ChunkOptions(100, 20), ChunkOptions(200, 10)], ids=["max_tokens", "overlap"])
def test_the_chunkers_name_tells_options_apart(other):
    name = chunker_name(ChunkOptions(), "f1")
    assert name != chunker_name(other, "f1")
    assert name != chunker_name(ChunkOptions(), "f2")
    assert json.loads(name) == json.loads(chunker_name(ChunkOptions(200, 20), "f1"))
    assert "words-porter/1" in name
