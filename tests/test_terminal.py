"""Control characters in text from outside are escaped. All other characters are unchanged."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from bessemer.terminal import printable, printable_json, printable_line

ANY_TEXT = st.text(st.characters(exclude_categories=()) | st.characters(categories=["Cc", "Cf", "Cs"]))


def test_control_characters_are_written_out_and_others_stay() -> None:
    assert printable("a\x1b[31mb\r\x07\n\tc\u202e\x9b") == "a\\x1b[31mb\\r\\x07\n\tc\\u202e\\x9b"
    assert printable("\ud800\u2066") == "\\ud800\\u2066"
    assert printable_line("a\n\tb\x1b") == "a\\n\\tb\\x1b"
    assert printable_json('{"a": "\x9b\u202e"}') == '{"a": "\\u009b\\u202e"}'
    for text in ("Zoë, 日本語, 👍", "a\u00a0b", "a\u200cb", "👩\u200d💻", "so\u00adft", "שלום \u200f(עולם)"):
        assert printable(text) == text


@given(ANY_TEXT)
def test_what_is_shown_has_no_control_character(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(unicodedata.category(character) == "Cc" for character in shown if character not in "\t\n")
    assert not any(unicodedata.bidirectional(character) in ("LRO", "RLO", "LRE", "RLE", "PDF") for character in shown)
    assert printable(shown) == shown
    assert "\n" not in printable_line(text)


@given(ANY_TEXT)
def test_json_keeps_its_value(text: str) -> None:
    written = printable_json(json.dumps({text: [text]}, indent=2, ensure_ascii=False))
    assert json.loads(written) == {text: [text]}
    assert printable(written) == written
