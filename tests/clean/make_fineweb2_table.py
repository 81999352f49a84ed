"""Writes `clean/fineweb2.tsv`: the limits and stop words that FineWeb-2 measured for each language.

    git clone https://github.com/huggingface/fineweb-2 /tmp/fineweb-2
    PYTHONPATH=platform python tests/clean/make_fineweb2_table.py /tmp/fineweb-2/configs FOLDER_OF_LANGID

The numbers are copied as they are. Three things differ in the words. Entries without a letter are left out, and so is
the English `the`, which pages in other languages quote. A full stop at the end of an abbreviation goes, because it is a
separate word here. Serbian has the words of both its alphabets.

FineWeb-2 cuts Korean into morphemes, and its list holds particles. Here blanks end a Korean word, so its words are
derived: those that occur twice or more both in the news sentences of the data set `langid` (lingua-py)
and in the Universal Declaration of Human Rights, two texts of different subjects.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from bessemer.clean.languages import COLUMNS, TABLE

CONFIGS = """af afr_Latn|am amh_Ethi|ar arb_Arab|az azj_Latn|be bel_Cyrl|bg bul_Cyrl|bn ben_Beng|bs bos_Latn|ca cat_Latn
cs ces_Latn|cy cym_Latn|da dan_Latn|de deu_Latn|el ell_Grek|eo epo_Latn|es spa_Latn|et ekk_Latn|eu eus_Latn|fa fas_Arab
fi fin_Latn|fr fra_Latn|ga gle_Latn|gl glg_Latn|he heb_Hebr|hi hin_Deva|hr hrv_Latn|hu hun_Latn|hy hye_Armn|id ind_Latn
is isl_Latn|it ita_Latn|ja jpn_Jpan|ka kat_Geor|kk kaz_Cyrl|km khm_Khmr|kn kan_Knda|ko kor_Hang|la lat_Latn|lo lao_Laoo
lt lit_Latn|lv lvs_Latn|mk mkd_Cyrl|ml mal_Mlym|mn khk_Cyrl|mr mar_Deva|ms zsm_Latn|my mya_Mymr|ne npi_Deva|nl nld_Latn
nn nno_Latn|no nob_Latn|pa pan_Guru|pl pol_Latn|pt por_Latn|ro ron_Latn|ru rus_Cyrl|si sin_Sinh|sk slk_Latn|sl slv_Latn
sq als_Latn|sr srp_Cyrl|sv swe_Latn|sw swh_Latn|ta tam_Taml|te tel_Telu|th tha_Thai|tl fil_Latn|tr tur_Latn|uk ukr_Cyrl
ur urd_Arab|uz uzn_Latn|vi vie_Latn|zh cmn_Hani"""


def row(language: str, config: str, folder: Path, langid: Path) -> list[str]:
    """One line of the table, by column."""
    found = _read(folder, config)
    words = korean_words(langid) if language == "ko" else found["stopwords"]
    if language == "sr":
        words = [*words, *_read(folder, "srp_Latn")["stopwords"]]
    top, copies = dict(found["top_n_grams"]), dict(found["dup_n_grams"])
    numbers = [found["dup_line_frac"], *(top[n] for n in (2, 3, 4)), *(copies[n] for n in range(5, 11))]
    numbers += [found["line_punct_thr"], found["new_line_ratio"]]
    numbers += [found["min_avg_word_length"], found["max_avg_word_length"], found["max_non_alpha_words_ratio"]]
    return [language, config, *map(str, numbers), " ".join(dict.fromkeys(filter(None, map(_word, words))))]


def korean_words(langid: Path) -> list[str]:
    files = ("lingua_sentences/ko.txt", "udhr2/kor.txt")
    news, declaration = (Counter(re.findall("[가-힣]+", (langid / file).read_text("utf-8"))) for file in files)
    return sorted(word for word in news if min(news[word], declaration[word]) >= 2)


def _read(folder: Path, config: str) -> Any:
    return yaml.safe_load((folder / f"{config}.yml").read_text("utf-8"))


def _word(word: str) -> str:
    word = unicodedata.normalize("NFC", word)
    if word == "the" or not any(map(str.isalpha, word)):
        return ""
    return word.removesuffix(".") if word.count(".") == 1 and not word.isascii() else word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, help="the folder `configs` of FineWeb-2's repository")
    parser.add_argument("langid", type=Path, help="the unpacked data set `langid`")
    options = parser.parse_args()
    pairs = [pair.split() for pair in re.split(r"[|\n]", CONFIGS)]
    rows = [row(language, config, options.configs, options.langid) for language, config in pairs]
    lines = ["\t".join(line) for line in [list(COLUMNS), *rows]]
    TABLE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
