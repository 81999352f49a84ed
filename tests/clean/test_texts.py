"""A batch of texts as arrays says what Python's string methods say of each text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.clean.spans import Spans
from bessemer.clean.texts import BATCH_CHARACTERS, Texts, batches

PIECES = st.sampled_from([*"ab.,-' \n\r\t\v\x1c\x85\u2028\u3000…é中", "\r\n", "\n\n", "...", "n't"])
TEXT = st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=30))
BATCH = st.lists(TEXT, max_size=6)


def strings(texts: Texts, spans: Spans) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in texts.strings]
    for start, end, owner in zip(*(column.tolist() for column in spans), strict=True):
        found[owner].append(texts.joined[start:end])
    return found


@settings(deadline=None)
@given(BATCH)
def test_pieces_are_those_of_pythons_string_methods(batch: list[str]) -> None:
    texts = Texts(batch)
    assert strings(texts, texts.chunks) == [text.split() for text in batch]
    assert strings(texts, texts.lines) == [text.split("\n") for text in batch]
    assert strings(texts, texts.split_lines) == [text.splitlines() for text in batch]


@settings(deadline=None)
@given(BATCH)
def test_words_cover_all_but_white_space_and_do_not_depend_on_the_neighbours(batch: list[str]) -> None:
    texts = Texts(batch)
    words = strings(texts, texts.words)
    assert ["".join(found) for found in words] == ["".join(text.split()) for text in batch]
    assert words == [strings(alone := Texts([text]), alone.words)[0] for text in batch]


@settings(deadline=None)
@given(BATCH)
def test_pieces_have_equal_hashes_exactly_if_they_are_equal(batch: list[str]) -> None:
    texts = Texts(batch)
    words = [word for found in strings(texts, texts.words) for word in found]
    assert len(set(zip(words, texts.word_hashes.tolist(), strict=True))) == len(set(words))
    assert len(set(texts.word_hashes.tolist())) == len(set(words))


@settings(deadline=None)
@given(st.lists(st.integers(0, BATCH_CHARACTERS + 5), max_size=12))
def test_batches_are_bounded_and_lose_no_text(lengths: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    parts = [texts[part] for part in batches(texts)]
    assert [text for part in parts for text in part] == texts
    assert all(len(part) == 1 or sum(map(len, part)) <= BATCH_CHARACTERS for part in parts)
