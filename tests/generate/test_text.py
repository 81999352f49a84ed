"""Streamed text equals the decoded text, has no incomplete characters, and ends before a stop text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.generate.text import TextStream
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

TOKENIZER = TokenizerFolder.trained(train_tokenizer(["abc abc"], vocab_size=270))


def pushed(text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    stream, pieces = TextStream(TOKENIZER.tokenizer, stop), []
    for token in TOKENIZER.encode(text):
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    return [*pieces, stream.finish()], stream


@given(
    st.text(alphabet="ab é日🙂�\n", max_size=30), st.lists(st.text(alphabet="ab日", min_size=1, max_size=3), max_size=3)
)
def test_pieces_add_up_to_the_text_before_the_first_stop(text: str, stop: list[str]) -> None:
    pieces, stream = pushed(text, tuple(stop))
    ends = [text.index(s) for s in stop if s in text]
    assert stream.stopped == bool(ends)
    got = "".join(pieces)
    assert text.startswith(got)
    if stream.stopped:
        assert any(text[len(got) :].startswith(s) for s in stop)
        assert not any(s in got for s in stop)
    elif not text.endswith("�"):
        assert got == text


def test_a_character_of_several_tokens_comes_whole() -> None:
    pieces, _ = pushed("a🙂b")
    assert [piece for piece in pieces if piece] == ["a", "🙂", "b"]


def test_an_unfinished_character_at_the_end_is_left_out() -> None:
    stream = TextStream(TOKENIZER.tokenizer)
    *most, _ = TOKENIZER.encode("é🙂")
    assert "".join(map(stream.push, most)) + stream.finish() == "é"


@pytest.mark.parametrize("text", ["ab", "aab", "aaab"])
def test_what_could_become_a_stop_text_is_held_back_and_given_when_it_does_not(text: str) -> None:
    pieces, stream = pushed(text, ("aaaa",))
    assert "".join(pieces) == text
    assert not stream.stopped
