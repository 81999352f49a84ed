"""toxicity_classifier as a stage: it reports its own error rates; bad settings are errors before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bessemer.errors import InputError
from bessemer.evaluate.classifier import Classifier
from bessemer.report.classifier import errors
from bessemer.stages import toxicity_classifier

KIND = ("what a lovely day", "thank you", "good evening", "nice of you")
RUDE = ("you fool", "shut up", "foolish clown", "clowns and fools")


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, dict[str, str]]:
    learnt, tested = tmp_path / "learnt.csv", tmp_path / "tested.csv"
    rows = [f"{text} {n},{int(text in RUDE)}" for n in range(40) for text in (*KIND, *RUDE)]
    learnt.write_text("\n".join(["text,class", *rows]))
    tested.write_text("words,gold,part\nthe fool,hateful,slur\na clown,hateful,slur\na day,fine,neutral\n")
    test = {"dataset": str(tested), "text": "{{words}}", "label": "gold == 'hateful'", "group": "{{part}}"}
    return {"train": {"dataset": str(learnt), "label": "class == '1'"}, "test": test}


def test_a_classifier_comes_with_its_errors_by_category(
    sets: dict[str, dict[str, str]], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    config = toxicity_classifier.Config(train={"mine": sets["train"]}, tests={"other": sets["test"]})
    draft, seal = make_artifact("classifier")
    toxicity_classifier.run(config, {}, draft, make_context())
    artifact = seal()
    assert Classifier.load(artifact.data).probabilities(["you fool"])[0] > 0.5
    rows = pq.read_table(artifact.data / "errors.parquet").to_pylist()
    held_out, other, neutral, slur = rows
    assert 0 < held_out["n"] < 320
    assert held_out["recall"] > 0.9
    assert (other["set"], other["group"], other["n"], other["num_positive"]) == ("other", None, 3, 2)
    assert (neutral["group"], neutral["recall"], slur["false_positive_rate"]) == ("neutral", None, None)
    assert draft.metrics["toxicity_classifier/other/recall"] == other["recall"]
    assert len(draft.metrics) == 8
    shown = str(errors(artifact.data))
    assert "By category" in shown
    assert f">{other['recall']:.3f}<" in shown


def test_sets_count_by_content_and_are_read_before_any_work(sets: dict[str, dict[str, str]], tmp_path: Path) -> None:
    config = toxicity_classifier.Config(train={"mine": sets["train"]})
    before = toxicity_classifier.outside(config)
    Path(sets["train"]["dataset"]).write_text("text,class\na,0\nb,1\n")
    assert toxicity_classifier.outside(config) != before
    Path(sets["train"]["dataset"]).write_text("text,class\na,0\n")
    with pytest.raises(InputError, match="have the same label"):
        toxicity_classifier.outside(config)
    with pytest.raises(ValidationError, match="at least 1"):
        toxicity_classifier.Config(train={})
