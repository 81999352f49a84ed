"""Declared tasks: the package's declarations are valid, recipes can change them, and paths have the right folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from tests.evaluate.tiny_model import make_tiny_model

from bessemer.evaluate import declared
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.materials import Materials

SETS = ("eval_gauntlet", "eval_blimp", "eval_gsm8k", "eval_truthfulqa", "eval_bias", "mt_metrics")


def resolved(name: str, given: dict[str, Any] | None = None, datasets: str | None = "/data") -> dict[str, Any]:
    return declared.resolve(name, given, datasets=datasets, place=lambda path: str(Path("/recipe", path)))


@pytest.mark.parametrize("name", declared.names())
def test_a_packaged_task_is_valid(name: str) -> None:
    TypeAdapter(AnyTask).validate_python(resolved(name))


@pytest.fixture(scope="module")
def datasets(dataset: Callable[[str], Path]) -> Path:
    """The folder with all public datasets."""
    return {dataset(name).parent for name in SETS}.pop()


@pytest.mark.parametrize("name", declared.names())
def test_a_packaged_task_finds_its_columns_in_the_real_data(name: str, datasets: Path) -> None:
    TypeAdapter(AnyTask).validate_python(resolved(name, datasets=str(datasets))).items({})


def test_every_packaged_task_runs_on_real_items(datasets: Path, tmp_path: Path) -> None:
    """Two items per task, on an untrained model: every metric is a number with its count and its standard error."""
    make_tiny_model(tmp_path, ["The reader opens a file and returns one line. "] * 3, max_seq_length=512)
    materials = Materials(EvaluatedModel.load(tmp_path, dtype=torch.float32, device=torch.device("cpu")))
    for name in declared.names():
        settings = resolved(name, {"limit": 2}, datasets=str(datasets))
        if "generation" in settings:
            settings["generation"] = {**settings["generation"], "max_new_tokens": 4}
        task = TypeAdapter(AnyTask).validate_python(settings)
        result = task.score(materials)
        headlines = {score.metric: score for score in result.scores if score.group is None}
        assert headlines.keys() >= set(task.headlines), name
        assert len(result.items) == 2
        assert all(np.isfinite(score.value) for score in result.scores), name


def test_a_declared_task_is_taken_with_changes_and_under_other_names() -> None:
    plain = resolved("arc_easy")
    assert plain["dataset"] == "/data/eval_gauntlet/arc_easy.jsonl"
    assert resolved("arc_easy", {"num_fewshot": 5}) == plain | {"num_fewshot": 5}
    assert resolved("mine", {"task": "arc_easy", "limit": 3}) == plain | {"limit": 3}


def test_a_path_starts_where_its_writer_stands(tmp_path: Path) -> None:
    """The package's paths start in `datasets`, a file's in the file's folder, and a recipe's in the recipe's folder."""
    (tmp_path / "my.yaml").write_text(
        "kind: minimal_pairs\ndataset: {sentence_good: good.txt, sentence_bad: bad.txt}\n"
    )
    found = resolved("mine", {"file": str(tmp_path / "my.yaml")})
    assert found["dataset"] == {"sentence_good": f"{tmp_path}/good.txt", "sentence_bad": f"{tmp_path}/bad.txt"}
    assert resolved("piqa", {"dataset": "own.jsonl"}, datasets=None)["dataset"] == "/recipe/own.jsonl"
    inline = resolved("mine", {"kind": "minimal_pairs", "dataset": "own.jsonl"}, datasets=None)
    assert inline == {"kind": "minimal_pairs", "dataset": "/recipe/own.jsonl"}
    assert resolved("gsm8k")["fewshot_dataset"] == "/data/eval_gsm8k/train.jsonl"


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("arc_eazy", None, "no declared task has the name `arc_eazy`; did you mean `arc_easy`"),
        ("mine", {"task": "nothing at all"}, "has the name `nothing at all`; valid names: .*`winogrande`"),
        ("mine", {"file": "absent.yaml"}, "`/recipe/absent.yaml` is not a file"),
        ("mine", {"kind": "schema", "task": "winograd"}, "`kind` starts a new one"),
        ("mine", {"file": "a.yaml", "task": "winograd"}, "set only one of them"),
    ],
)
def test_what_cannot_be_taken_is_named(name: str, given: dict[str, Any] | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        resolved(name, given)


def test_a_declared_task_needs_to_know_where_the_data_are() -> None:
    with pytest.raises(ValueError, match="`piqa` reads its data from the folder `datasets`"):
        resolved("piqa", datasets=None)


@pytest.mark.parametrize("text", ["kind: [", "- a\n- b\n", "dataset: x.jsonl\n", "kind: schema\nkind: schema\n"])
def test_a_file_that_declares_no_task_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"my\.yaml"):
        resolved("mine", {"file": str(tmp_path / "my.yaml")})
