"""Stop words are those of the text's language; without a list the limit does not apply."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bessemer.clean.quality import GopherQuality
from bessemer.clean.texts import Texts

ENGLISH = "The cat and the dog have to be with that of"
GERMAN = "Der Hund und die Katze von dem Nachbarn"
FRENCH = "C’est l’heure d'une fête, qu'il n'a l'idée de"


def stop_words(rule: GopherQuality, texts: list[str], languages: list[str | None]) -> list[float]:
    return rule.apply(Texts(texts, languages)).signals["stop_words"].tolist()


def test_stop_words_are_those_of_the_language() -> None:
    texts = [ENGLISH, GERMAN, ENGLISH, GERMAN, "我们的学校在中国。", FRENCH, GERMAN]
    languages = ["en", "de", "de", "en", "zh", "fr", None]
    assert stop_words(GopherQuality(), texts, languages) == [8, 4, 0, 0, 2, 6, 0]


def test_a_language_without_a_list_has_no_limit() -> None:
    (found,) = stop_words(GopherQuality(), [GERMAN], ["gu"])
    assert np.isnan(found)
    rule = GopherQuality()
    limits = rule.broken(rule.apply(Texts([GERMAN], ["gu"])).signals, ["gu"])
    assert [limit.signal for limit in limits if limit.texts[0]] == ["words"]


def test_a_list_of_the_recipe_holds_for_all_languages_and_a_mapping_for_some() -> None:
    texts, languages = ["ka ta pa", "ka ta pa", GERMAN], ["gu", "br", "de"]
    everywhere = GopherQuality(stop_words=("ka", "ta"))
    assert stop_words(everywhere, texts, languages) == [2, 2, 0]
    some = GopherQuality.model_validate({"stop_words": {"gu": ["ka", "pa", "xx"]}})
    np.testing.assert_array_equal(stop_words(some, texts, languages), [2, np.nan, 4])
    assert hash(some) == hash(GopherQuality.model_validate(some.model_dump(mode="json")))


def test_what_a_batch_holds_besides_makes_no_difference() -> None:
    texts, languages = [GERMAN, ENGLISH, FRENCH, "的在"], ["de", "en", "fr", "zh"]
    together = stop_words(GopherQuality(), texts, languages)
    alone = [
        stop_words(GopherQuality(), [text], [language])[0] for text, language in zip(texts, languages, strict=True)
    ]
    assert together == alone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one word"),
        ({"de": []}, "at least one word"),
        ({"deu": ["der"]}, "languages that can be identified"),
        ("der", "valid"),
    ],
)
def test_a_list_that_cannot_work_is_refused(words: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GopherQuality.model_validate({"stop_words": words})


def test_the_plan_says_where_there_is_no_list() -> None:
    found = GopherQuality().abstentions({"en", "de", "gu"})
    assert found[1] == (
        "`gopher_quality` has no stop words for `gu` and skips `min_stop_words` there; "
        "add a list with `stop_words: {gu: [...]}`"
    )
    listed = GopherQuality.model_validate({"stop_words": {"gu": ["છે"]}})
    assert len(listed.abstentions({"gu"})) == 1
    assert len(GopherQuality(min_stop_words=None).abstentions({"gu"})) == 1
