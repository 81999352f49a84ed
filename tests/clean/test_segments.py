"""Words end by the rules of their writing system, even without a blank."""

from __future__ import annotations

import pytest

from bessemer.clean.texts import Texts


def words(text: str, language: str | None) -> list[str]:
    texts = Texts(["before", text, "after"], ["en", language, "en"])
    own = texts.words.select(texts.words.owners == 1)
    return [texts.joined[start:end] for start, end in zip(own.starts, own.ends, strict=True)]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("zh", "我们在学校学习。《书》很好……", "我们|在|学校|学习|。|《|书|》|很好|……"),
        ("zh-Hant", "我們學習。", "我們|學習|。"),
        ("zh", "使用http://a.example/b-c和GPU-8。", "使用|http://a.example/b-c|和|GPU-8|。"),
        ("ja", "吾輩は猫である。名前は", "吾輩|は|猫|で|ある|。|名前|は"),
        ("ja", "😀吾輩は猫", "😀|吾輩|は|猫"),
        ("th", "ภาษาไทยเป็นภาษาที่มี 5 คำ", "ภาษา|ไทย|เป็น|ภาษา|ที่|มี|5|คำ"),
        ("km", "មនុស្សទាំងអស់កើតមក", "មនុស្ស|ទាំងអស់|កើតមក"),
        ("lo", "ມະນຸດທຸກຄົນເກີດມາ", "ມະນຸດ|ທຸກຄົນ|ເກີດ|ມາ"),
        ("fr", "L’homme qu'il n'a d'été, '98", "L’|homme|qu'|il|n'|a|d'|été|,|'|98"),
        ("it", "dell'arte l'", "dell'|arte|l|'"),
        ("am", "የሰው፡ልጅ፡ሁሉ።", "የሰው|ልጅ|ሁሉ|።"),
        ("de", "L’homme und 我们在学校", "L’homme|und|我们在学校"),
        (None, "我们在学校", "我们在学校"),
        ("zh", "", ""),
        ("fr", "'", "'"),
    ],
)
def test_a_text_is_cut_into(language: str | None, text: str, expected: str) -> None:
    assert words(text, language) == list(filter(None, expected.split("|")))


def test_every_character_is_in_a_word_or_white_space() -> None:
    text = "第1章　𠮷野家で「食べる」——x_y=1, l'été ภาษาไทย ☃\u200b"
    for language in ("ja", "zh", "th", "fr", "en", None):
        assert "".join(words(text, language)) == "".join(text.split())
