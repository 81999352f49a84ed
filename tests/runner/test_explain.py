"""`show --dropped` never ends in a traceback, for any stage and any rule."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runner.toy import HOOKS

from bessemer.artifacts.documents import write_parquet
from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table
from bessemer.errors import UsageError
from bessemer.runner import explain


@pytest.fixture
def run(execute: Any) -> Any:
    def keep(draft: Any, context: Any) -> None:
        write_parquet(ledger_table(["a"], ["file:a"], [KEPT]), draft.ledger / "00000.parquet")

    def drop(draft: Any, context: Any) -> None:
        table = ledger_table(["a", "b"], ["file:a", "file:b"], [KEPT, REMOVED], rules=[None, "c4/too_few_sentences"])
        write_parquet(table, draft.ledger / "00000.parquet")

    HOOKS["keep"], HOOKS["drop"] = keep, drop
    return execute("write.hook=keep", "double.hook=drop")[0]


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("library.test/os/", "http://library.test/os/"),
        ("library.test/os", "http://library.test/os/"),
        ("library.test", "https://library.test/"),
        ("LIBRARY.test/os/", "http://library.test/os/"),
        ("http://library.test/os", "http://library.test/os/"),
        ("empty.txt", "file:empty.txt"),
        ("http://library.test/a?b=1", "http://library.test/a?b=1"),
    ],
)
def test_a_url_is_found_as_people_type_it(execute: Any, typed: str, url: str) -> None:
    def keep(draft: Any, context: Any) -> None:
        write_parquet(ledger_table(["a", "b"], [url, "http://other.test/"], [KEPT, KEPT]), draft.ledger / "0.parquet")

    HOOKS["keep"] = keep
    run, _ = execute("write.hook=keep")
    assert [chapter.id for chapter in explain.tell(run, typed)] == ["a"]
    assert explain.tell(run, "nowhere.test") == []


def test_a_stage_that_dropped_nothing_has_no_examples(run: Any) -> None:
    assert list(explain.dropped(run, "write", None, 5)) == []
    assert list(explain.dropped(run, "write", "c4", 5)) == []


@pytest.mark.parametrize("rule", [None, "c4", "c4/too_few_sentences"])
def test_a_rule_is_named_whole_or_by_its_first_part(run: Any, rule: str | None) -> None:
    ((chapter, text),) = explain.dropped(run, "double", rule, 5)
    assert (chapter.id, chapter.rule, text) == ("b", "c4/too_few_sentences", "")


def test_a_mistyped_rule_is_met_with_the_nearest(run: Any) -> None:
    with pytest.raises(UsageError, match="no document was removed by `c4/too_few`") as caught:
        list(explain.dropped(run, "double", "c4/too_few", 5))
    assert "did you mean `c4/too_few_sentences`?" in caught.value.hint


def test_a_stage_without_verdicts_names_those_that_have_some(run: Any) -> None:
    with pytest.raises(UsageError, match="`join` has no verdicts") as caught:
        list(explain.dropped(run, "join", None, 5))
    assert "`write`, `double`" in caught.value.hint
