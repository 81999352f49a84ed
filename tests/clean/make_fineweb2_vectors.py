"""Writes `fineweb2_vectors.json`: how datatrove counts the words of one text in each language of FineWeb-2.

    python -m venv /tmp/oracle
    /tmp/oracle/bin/pip install datatrove==0.10.1 spacy==3.8.18 jieba==0.42.1 regex
    PYTHONPATH=platform /tmp/oracle/bin/python tests/clean/make_fineweb2_vectors.py FOLDER_OF_LANGID

The text is the Universal Declaration of Human Rights, from the data set `langid`. Languages whose tokenizer needs more
than spaCy and jieba are left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datatrove.utils.text import PUNCTUATION_SET
from datatrove.utils.word_tokenizers import load_word_tokenizer

from bessemer.clean.languages import TABLE

FILES = {
    "az": "azj_latn", "bs": "bos_latn", "el": "ell_monotonic", "et": "est", "fa": "pes_1", "lv": "lav",
    "ms": "mly_latn", "ne": "nep", "pt": "por_PT", "sr": "srp_latn", "tl": "tgl", "uz": "uzn_latn", "zh": "cmn_hans",
}  # fmt: skip
"""The file of a language, if it is not named after its three-letter code."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("langid", type=Path, help="the unpacked data set `langid`")
    folder = parser.parse_args().langid / "udhr2"
    vectors = {}
    for line in TABLE.read_text("utf-8").splitlines()[1:]:
        language, config = line.split("\t")[:2]
        path = folder / f"{FILES.get(language, config.partition('_')[0])}.txt"
        if not path.exists():
            continue
        vectors[language] = {"file": path.name}
        try:
            words = load_word_tokenizer(config).word_tokenize(path.read_text("utf-8"))
        except ImportError:
            continue
        proper = [word for word in words if not set(word) <= PUNCTUATION_SET]
        vectors[language] |= {
            "words": len(proper),
            "mean_word_length": round(sum(map(len, proper)) / len(proper), 4),
            "alphabetic_word_ratio": round(sum(any(map(str.isalpha, word)) for word in words) / len(words), 4),
        }
    lines = [f"{json.dumps(language)}: {json.dumps(values)}" for language, values in vectors.items()]
    path = Path(__file__).with_name("fineweb2_vectors.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
