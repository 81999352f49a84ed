"""Each preset keeps the kind of text that it is for, and still removes tables, menus and gibberish."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.documents import documents

from bessemer.artifacts.documents import SCHEMA
from bessemer.clean.documents import clean_documents
from bessemer.clean.pii import Pii
from bessemer.clean.presets import PRESETS, Preset
from bessemer.clean.settings import CleanSettings
from bessemer.fingerprint import canonical

PROSE = "The people of the town have come to the river, and they talk about the water that is high. "
TABLE = "| 17.2 | 18.4 | -0.5 | + | 99 % |\n" * 40
MENU = "Home\nNews\nShop\nLogin\nCart\nHelp\nFAQ\nJobs\n" * 12


def kept(texts: Sequence[str], preset: Preset, languages: Sequence[str] = ("en",)) -> float:
    """The share of texts that a preset keeps."""
    override = {} if preset == "code" else {"language": {"languages": languages}}
    settings = CleanSettings.model_validate({"preset": preset, "override": override})
    left, _ = clean_documents(documents(texts), settings)
    return len(left) / len(texts)


def read(folder: Path, pattern: str) -> list[str]:
    texts = [path.read_text("utf-8", errors="replace") for path in sorted(folder.glob(pattern))]
    assert texts
    return texts


def test_technical_documents_stay(dataset: Callable[[str], Path]) -> None:
    peps = read(dataset("text_en_peps"), "*.rst")
    rfcs = read(dataset("text_en_rust_rfcs"), "*.md")
    chapters = read(dataset("text_zh_d2l"), "*.md")
    assert kept(peps, "markdown") > 0.97
    assert kept(rfcs, "markdown") > 0.97
    assert kept(chapters, "markdown", ["zh"]) > 0.93
    assert kept(peps[:100], "web") < 0.1  # so these documents need a preset


def test_books_stay(dataset: Callable[[str], Path]) -> None:
    assert kept(read(dataset("text_en_novels"), "*.txt"), "books") == 1
    assert kept(read(dataset("text_ja"), "wagahai*"), "books", ["ja"]) == 1
    for language in ("de", "es", "fr", "ru", "uk"):
        assert kept(read(dataset("text_multi"), f"{language}/*"), "books", [language]) == 1


def test_program_files_stay() -> None:
    files = read(Path(sysconfig.get_paths()["stdlib"]), "*.py")
    assert kept(files, "code") == 1
    assert kept(files[:50], "web") < 0.1


@pytest.mark.parametrize("preset", ["web", "markdown", "books"])
def test_tables_menus_and_gibberish_go(preset: Preset) -> None:
    gibberish = "xkcd qwrt zzzz plmk " * 30
    assert kept([TABLE, MENU, PROSE * 30, "Too short.", gibberish], preset) == 0


def test_prose_in_every_listed_language_stays(dataset: Callable[[str], Path]) -> None:
    """Of the Universal Declaration of Human Rights, with its language given, so that no identification is unsure."""
    vectors = json.loads(Path(__file__).with_name("fineweb2_vectors.json").read_text(encoding="utf-8"))
    folder = dataset("langid") / "udhr2"
    texts = [(folder / one["file"]).read_text("utf-8") for one in vectors.values()]
    table = documents(texts).set_column(6, SCHEMA.field("language"), pa.array(list(vectors)))
    for preset in ("web", "markdown", "books"):
        rules = CleanSettings.model_validate({"preset": preset, "override": {"language": None}})
        _, ledger = clean_documents(table, rules)
        assert [row["rule"] for row in ledger.to_pylist() if row["verdict"] == "removed"] == [], preset


def test_code_that_a_machine_wrote_goes() -> None:
    assert kept(["var a=" + "1,2;" * 400, "0x1f, " * 17 + "\n", "\u0000" * 30, "%$&/" * 30], "code") == 0


def test_two_blank_lines_stay_in_code() -> None:
    source = "import os\n\n\n\n\ndef f():\n    return os"
    left, _ = clean_documents(documents([source]), CleanSettings(preset="code"))
    assert left["text"].to_pylist() == ["import os\n\n\ndef f():\n    return os"]


def test_golden_presets() -> None:
    """Fails when a preset changes; then raise `version` in `stages/clean.py`, and put the new digest here."""
    described = {
        name: [rule.label if rule == Pii() else rule.model_dump(mode="json") for rule in rules]
        for name, rules in PRESETS.items()
    }
    assert hashlib.sha256(canonical(described)).hexdigest()[:16] == "32b329c72e2070be"
