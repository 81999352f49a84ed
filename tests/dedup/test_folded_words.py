"""Which texts count as equal when they are compared, and that the vectorised hashing sees what a plain loop sees."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.dedup import words
from bessemer.dedup.folding import DROPPED, GAP, LETTER, NUMBER, OPERATOR, UNSPACED, table
from bessemer.dedup.words import hash_words

ALPHABET = "+*/<=−–()abcABC é\u0301ß12३²٣ \n\t-.,'’_ あア한漢字ทัก\u200d\u00ad\ufb01\U0001f600\U00020000\x00ÅŉǅМй"
texts = st.text(st.sampled_from(ALPHABET) | st.characters(exclude_categories=["Cs"]), max_size=40)


def words_of(text: str, *, keep_numbers: bool = False) -> list[int]:
    return hash_words([text], keep_numbers=keep_numbers)[0].tolist()


def plain_words(text: str, *, keep_numbers: bool) -> list[tuple[int, ...]]:
    """The same rules, one character after the other."""
    found: list[list[int]] = []
    before = GAP
    characters = [c for c in unicodedata.normalize("NFC", text) if int(table(keep_numbers)[ord(c)]) & 7 != DROPPED]
    kinds = [int(table(keep_numbers)[ord(c)]) & 7 for c in characters]
    for place, character in enumerate(characters):
        kind, value = kinds[place], int(table(keep_numbers)[ord(character)]) >> 3
        if kind == OPERATOR and not is_operator(characters, kinds, place):
            kind = GAP
        if kind == UNSPACED or (kind != GAP and kind != before):
            found.append([])
        if kind in (LETTER, UNSPACED, OPERATOR) or (kind == NUMBER and keep_numbers):
            found[-1].append(value)
        before = kind
    return [tuple(word) for word in found]


def is_operator(characters: list[str], kinds: list[int], place: int) -> bool:
    """Whether the run of signs around `place` has operands on both sides, spaced alike, or is the sign of a number."""
    first, last = place, place
    while first > 0 and kinds[first - 1] == OPERATOR:
        first -= 1
    while last + 1 < len(kinds) and kinds[last + 1] == OPERATOR:
        last += 1

    def at(index: int) -> tuple[str, int]:
        return (characters[index], kinds[index]) if 0 <= index < len(kinds) else ("\n", GAP)

    def operand(index: int, brackets: str) -> bool:
        return at(index)[1] in (LETTER, NUMBER, UNSPACED) or at(index)[0] in brackets

    blank_before, blank_after = (at(index)[0] in " \t\xa0\u2009\u202f\u3000" for index in (first - 1, last + 1))
    left, right = first - 1 - blank_before, last + 1 + blank_after
    between = operand(left, ")]}'\"`’”") and operand(right, "([{'\"`‘“") and blank_before == blank_after
    unary = first == last and at(last + 1)[1] == NUMBER and not (operand(left, ")]}'\"`’”") and not blank_before)
    if all(unicodedata.category(c) == "Pd" or c == "\u2212" for c in characters[first : last + 1]):
        return first == last and NUMBER in (at(left)[1], at(right)[1]) and (between or unary)
    return between or unary


@settings(deadline=None)
@given(st.lists(texts, max_size=6), st.integers(1, 30), st.booleans())
def test_words_are_those_of_a_plain_loop(batch: list[str], chunk: int, keep_numbers: bool) -> None:
    """Two words have one hash exactly if they are the same word, however the batch is cut into chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "CHUNK", chunk)
        hashes, offsets = hash_words(batch, keep_numbers=keep_numbers)
    expected = [plain_words(text, keep_numbers=keep_numbers) for text in batch]
    assert np.diff(offsets).tolist() == [len(found) for found in expected]
    flat = [word for found in expected for word in found]
    pairs = set(zip(flat, hashes.tolist(), strict=True))
    assert len(pairs) == len(set(flat)) == len(set(hashes.tolist()))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("It's 3.14, isn't it?", "IT’S 2.71 -- isn‘t it!"),
        ("Café naïve", "Cafe\u0301 nai\u0308ve"),
        ("Café naïve", "cafe naive"),
        ("ＡＢＣ　１２", "abc 7"),
        ("so\u00adft zero\u200bwidth", "soft zerowidth"),
        ("in 2019", "in 12"),
        ("१२३ рублей", "45 Рублей"),
        ("これは、猫。", "これは 猫"),
        ("ｶﾅ", "カナ"),
        ("", " \n…—"),
    ],
)
def test_texts_that_count_as_equal(first: str, second: str) -> None:
    assert words_of(first) == words_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("ab c", "a bc"), ("ab", "ba"), ("one two", "two one"), ("a1", "a"), ("猫", "犬"), ("한국", "한글")],
)
def test_texts_that_do_not(first: str, second: str) -> None:
    assert words_of(first) != words_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("27 + 82", "27+82"),
        ("x <= y", "X<=Y"),
        ("१२ + ٣", "12 + 3"),
        ("１２－３", "12–3"),
        ("**bold** and _so on_", "bold and so on"),
        ("* item\n* item", "item\nitem"),
        ("well-known -- or not", "well known, or not"),
        ("Title\n=====\n> quoted", "Title\nquoted"),
        ("50% off!", "50 off"),
    ],
)
def test_texts_that_count_as_equal_with_numbers(first: str, second: str) -> None:
    """Marks of Markdown and dashes of prose are not operators."""
    assert words_of(first, keep_numbers=True) == words_of(second, keep_numbers=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("27 + 82", "27 + 83"), ("2 + 3", "2 - 3"), ("2 - 3", "2 3"), ("a * b", "a / b"), ("a*b", "a/b"),
        ("x <= y", "x >= y"), ("x == y", "x = y"), ("-5", "5"), ("$5", "€5"), ("3.14", "2.71"), ("1 < 2", "1 > 2"),
        ("f(x) + g(y)", "f(x) * g(y)"), ("第1章", "第2章"), ("2 × 3", "2 ÷ 3"),
    ],
)  # fmt: skip
def test_texts_that_differ_in_numbers_and_operators(first: str, second: str) -> None:
    assert words_of(first, keep_numbers=True) != words_of(second, keep_numbers=True)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("吾輩は猫である", 7),
        ("ภาษาไทย", 7),
        ("한국어 문장", 2),
        ("数学 is fun 42", 5),
        ("don't", 2),
        ("π≈3.14", 3),
        ("हिन्दी", 1),
    ],
)
def test_where_words_are_not_set_apart_every_letter_is_one(text: str, count: int) -> None:
    """Han, kana, Thai and their like; Korean and Hindi have spaces."""
    assert len(words_of(text)) == count


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.text(st.sampled_from("ab1猫"), max_size=8), min_size=10, max_size=60),
    st.sampled_from([" ", "\n", " \n "]),
)
def test_a_text_longer_than_a_piece_is_cut_at_spaces(parts: list[str], separator: str) -> None:
    text = separator.join(parts)
    expected = words_of(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "LONGEST_PIECE", 40)
        assert words_of(text) == expected


def test_golden_hashes() -> None:
    """Word hashes decide the stage's output: other values need a new version of the stage `dedup`."""
    assert [f"{value:016x}" for value in words_of("The quick Brown fox, 42 naïve 猫!")] == [
        "f267f1b513f742f9",
        "5bf20eeaeb546806",
        "25872dfea22912b0",
        "685c546043150268",
        "e220a8397b1dcdaf",
        "32007c5c060136fa",
        "73dee9d79e4760f6",
    ]


def test_golden_hashes_with_numbers() -> None:
    assert [f"{value:016x}" for value in words_of("x <= 42", keep_numbers=True)] == [
        "55f78e0475eb9a35",
        "a25fa0537fb869fc",
        "db789d6b51f608c0",
    ]
