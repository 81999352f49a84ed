"""The prose lint finds poor sentences in prose, and in prose only."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import plain_english
from tests.plain_english import RULES, matches, measure

EXAMPLES = {
    "clause that opens with `what`": ("A list of what changed.", "A list of the changed files."),
    "`whatever` or `nobody` as an actor": ("Whatever the seed, it runs.", "It runs with any seed."),
    "`stands` for `is`": ("The name stands first.", "The name is first, and stands out."),
    "`tells` for `reports`": ("The user is told.", "The log warns the user."),
    "`is no` for `is not a`": ("A directory is no file.", "It is no longer a file, not a directory."),
    "`a` for `per`": ("One verdict a document.", "One verdict per document, and a step."),
    "`of its own`": ("A metric of your own.", "Your own metric."),
    "`beside` for `next to`": ("Beside the recipe.", "Next to the recipe."),
    "`is worth`": ("A cache is worth much.", "A cache saves 3 s, which is worth it."),
    "archaic word": ("The index is built anew.", "The index is built again."),
    "`so many` for a number": ("It fails after so many.", "It fails after 3 attempts."),
    "`goes on` for `continues`": ("The run goes on.", "The run continues."),
    "`where` for `if`": ("None where there is a gap.", "None if the row has a gap."),
    "`is to` and a verb": ("The rank is to be set.", "Set the rank."),
    "preposition at the end of a clause": ("The file that it came from.", "The file of its origin."),
    "inverted negation": ("Nor is the seed.", "The seed is not."),
    "`of it is made`": ("None of it is kept.", "All is removed."),
}
PYTHON = '''"""What a module does is told.

Beside that, `whatever` is code."""
limit = 3  # so many
"""The limit of its own."""
name = "whatever"
raise ValueError(f"nobody knows {limit}", hint="henceforth wait")
'''
MARKDOWN = """# Title

Whatever `nobody` says.

```
whatever
```

    whatever

The end, lest it be missed.
"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_finds_its_construction_and_passes_the_better_sentence(rule: plain_english.Rule) -> None:
    poor, better = EXAMPLES[rule.name]
    assert [found.name for _, found, _ in matches(poor)] == [rule.name]
    assert list(matches(better)) == []


def test_docstrings_comments_and_messages_are_prose_and_code_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PYTHON)
    words, found = measure(tmp_path)
    assert [(finding.line, finding.rule.name) for finding in sorted(found, key=lambda finding: finding.line)] == [
        (1, "clause that opens with `what`"),
        (1, "`tells` for `reports`"),
        (3, "`beside` for `next to`"),
        (4, "`so many` for a number"),
        (5, "`of its own`"),
        (7, "`whatever` or `nobody` as an actor"),
        (7, "archaic word"),
    ]
    assert words == 20


def test_markdown_is_prose_outside_code(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(MARKDOWN)
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "b.md").write_text(MARKDOWN)
    _, found = measure(tmp_path)
    assert sorted(finding.line for finding in found) == [3, 11]


def test_a_path_above_its_limit_fails_and_lists_its_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("Whatever. " + "Plain words. " * 249 + "Whatever.\n")  # 2 findings in 500 words
    monkeypatch.setattr("sys.argv", ["plain_english"])
    monkeypatch.setattr(plain_english, "LIMITS", {str(tmp_path): 4.0})
    assert plain_english.main() == 0
    assert capsys.readouterr().out == f"{tmp_path}: 4.0 findings per 1 000 words, at most 4.0 (2 in 500 words)\n"
    monkeypatch.setattr(plain_english, "LIMITS", {str(tmp_path): 3.9})
    assert plain_english.main() == 1
    assert f"{tmp_path / 'a.md'}:1: `whatever`" in capsys.readouterr().out


def test_paths_that_are_given_are_listed_and_do_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("Whatever.\n")
    monkeypatch.setattr("sys.argv", ["plain_english", str(tmp_path)])
    assert plain_english.main() == 0
    assert capsys.readouterr().out.count("whatever") == 1
