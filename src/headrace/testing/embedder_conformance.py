"""What every embedder must do. Subclass, give `embedder` as a fixture, and pytest runs the rest."""

import threading
from collections.abc import Sequence

import numpy as np

from headrace.models.embedder import Embedder, Vectors

TEXTS = (
    "A transfer abroad costs four euros and fifty cents.",
    "How much is it to send money to another country?",
    "The library opens at nine in the morning.",
    "x",
    "Where? " * 40,
)
ODD = ("", " ", "\n\t", "\x00", "日本語のテキスト", "e\u0301\u200b\ufeff", "🙂" * 50, "a" * 200_000, "' OR 1=1 --")


class EmbedderConformance:
    """The suite. `tolerance`: 1 − cosine that rounding may make."""

    tolerance = 1e-3

    def test_vectors_have_length_one_and_the_dimension_that_is_said(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS)
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)

    def test_a_texts_vector_does_not_depend_on_its_neighbours(self, embedder: Embedder) -> None:
        texts = [f"{text} {number}" for number in range(7) for text in TEXTS]
        together = embedder.embed(texts)
        for place in range(0, len(texts), 5):
            fresh = embedder.embed([texts[place], f"another neighbour {place}"])[0]
            assert 1.0 - float(fresh @ together[place]) <= self.tolerance

    def test_the_order_of_texts_is_the_order_of_vectors(self, embedder: Embedder) -> None:
        there, back = embedder.embed(TEXTS), embedder.embed(TEXTS[::-1])
        assert np.allclose(there, back[::-1], atol=1e-2)

    def test_equal_texts_have_equal_vectors_also_in_one_call(self, embedder: Embedder) -> None:
        vectors = embedder.embed([TEXTS[0], TEXTS[1], TEXTS[0]])
        assert np.array_equal(vectors[0], vectors[2])

    def test_odd_texts_are_embedded_like_any_other(self, embedder: Embedder) -> None:
        vectors = embedder.embed(ODD)
        assert np.isfinite(vectors).all()
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)

    def test_no_texts_make_no_vectors(self, embedder: Embedder) -> None:
        assert embedder.embed([]).shape == (0, embedder.dimension)

    def test_tokens_are_counted_without_special_ones_and_never_cut(self, embedder: Embedder) -> None:
        short, long = embedder.count_tokens(["word", "word " * 2_000])
        assert short >= 1
        assert long > embedder.max_tokens

    def test_progress_counts_up_to_all_texts(self, embedder: Embedder) -> None:
        seen: list[int] = []
        embedder.embed([f"progress {number}" for number in range(20)], seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == 20

    def test_several_threads_may_ask_at_once(self, embedder: Embedder) -> None:
        expected = embedder.embed(TEXTS)
        found: list[Vectors] = []

        def ask(texts: Sequence[str]) -> None:
            found.append(embedder.embed(texts))

        threads = [threading.Thread(target=ask, args=(TEXTS,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(np.allclose(one, expected, atol=1e-2) for one in found)

    def test_the_fingerprint_stays(self, embedder: Embedder) -> None:
        before = embedder.fingerprint
        embedder.embed(["anything"])
        assert embedder.fingerprint == before != ""
