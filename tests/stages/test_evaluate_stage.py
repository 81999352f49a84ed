"""The stage evaluate: default tasks, what it leaves behind, resuming, and errors before any work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, UsageError
from bessemer.evaluate.scores import SCORES_SCHEMA, Score
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.recipe.settings import result_settings
from bessemer.stages import evaluate
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.tokens.training import train_tokenizer
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard

TEXTS = [f"line {number} says that the reader returns what the writer wrote" for number in range(12)]


@pytest.fixture
def inputs(make_artifact: Callable[..., Any]) -> dict[str, Artifact]:
    """A random model, its tokens and three questions."""
    draft, seal_model = make_artifact("model")
    tokenizer = TokenizerFolder.trained(train_tokenizer(TEXTS, vocab_size=300))
    tokenizer.save(draft.data)
    model = Transformer(
        ModelShape(size="nano", num_hidden_layers=1).resolve(vocab_size=tokenizer.vocab_size, max_seq_length=32)
    )
    model.initialise(0)
    export_model(model, draft.data, stop_ids=[tokenizer.end_of_text_id])

    draft, seal_tokens = make_artifact("tokens")
    encoded = [[*tokenizer.encode(text), tokenizer.end_of_text_id] for text in TEXTS]
    names = [str(number) for number in range(len(TEXTS))]
    sizes = np.array([len(text.encode()) for text in TEXTS])
    rows = index_rows(names, names, ["a"] * len(TEXTS), np.array([len(ids) for ids in encoded]), sizes)
    shard = write_shard(draft.data, "test", 0, [Tokenized(np.concatenate(encoded).astype("<u2"), rows)])
    write_meta(
        draft.data,
        [shard],
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        token_bytes=tokenizer.token_bytes,
    )

    draft, seal_questions = make_artifact("questions")
    question = {"query": "line 1 says that", "choices": [" the", " what", " 3"], "gold": 0}
    (draft.data / "test.jsonl").write_text("\n".join([json.dumps(question)] * 3))
    return {"model/pretrain": seal_model(), "tokens": seal_tokens(), "questions": seal_questions()}


def evaluated(
    config: evaluate.Config,
    inputs: dict[str, Artifact],
    make_artifact: Callable[..., Any],
    context: Any,
    name: str = "scores",
) -> Any:
    draft, seal = make_artifact("scores", name)
    evaluate.run(config, inputs, draft, context)
    return draft, seal()


def test_the_default_tasks_leave_scores_items_samples_and_headlines(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, artifact = evaluated(evaluate.Config(), inputs, make_artifact, make_context())
    table = pq.read_table(artifact.data / "scores.parquet")
    assert table.schema.equals(SCORES_SCHEMA)
    found = {(row["task"], row["metric"], row["group"]) for row in table.to_pylist()}
    assert found >= {
        ("held_out", "bits_per_byte", None),
        ("held_out", "perplexity", "a"),
        ("questions", "acc_norm", None),
    }
    assert draft.metrics["evaluate/questions/acc"] in (0.0, 1.0)
    assert 1.0 < draft.metrics["evaluate/held_out/bits_per_byte"] < 10.0
    assert all(key.count("/") == 2 for key in draft.metrics)
    items = {path.stem: len(pq.read_table(path)) for path in artifact.parts() if path.parent.parent.name == "items"}
    samples = [json.loads(line) for line in (artifact.data / "samples.jsonl").read_text().splitlines()]
    assert items == {"held_out": 12, "questions": 3, "samples": len(samples)}
    assert {"task", "prompt", "completion", "reference", "url"} <= set(samples[0])


def test_the_dtype_is_resolved_and_can_be_set(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    scores = {}
    for dtype in ("float32", "bfloat16"):
        config = evaluate.Config(tasks={"t": {"kind": "bits_per_byte"}}, dtype=dtype)
        draft, _ = evaluated(config, inputs, make_artifact, make_context(), dtype)
        assert draft.resolved == {"dtype": dtype}
        scores[dtype] = draft.metrics["evaluate/t/bits_per_byte"]
    assert scores["bfloat16"] == pytest.approx(scores["float32"], rel=1e-2)


def test_an_interrupted_evaluation_does_the_other_tasks_only(
    inputs: dict[str, Artifact],
    make_artifact: Callable[..., Any],
    make_context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, whole = evaluated(evaluate.Config(), inputs, make_artifact, make_context(), "whole")
    draft, seal = make_artifact("scores", "interrupted")

    class Killed(Exception):
        pass

    def killed_after_one(done: int, total: int, unit: str, **facts: object) -> None:
        if done == 1:
            raise Killed

    with pytest.raises(Killed):
        evaluate.run(evaluate.Config(), inputs, draft, make_context(progress=killed_after_one))
    from bessemer.evaluate import run

    done: list[str] = []
    run_task = run.run_task
    monkeypatch.setattr(run, "run_task", lambda task, *rest: done.append(task.kind) or run_task(task, *rest))
    evaluate.run(evaluate.Config(), inputs, draft, make_context())
    assert done == ["multiple_choice", "samples"]
    shutil.rmtree(draft.work)
    shutil.rmtree(whole.path / "work", ignore_errors=True)
    for path in whole.data.rglob("*.*"):
        assert path.read_bytes() == (seal().data / path.relative_to(whole.data)).read_bytes(), path.name


def test_a_task_without_questions_is_an_error(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    config = evaluate.Config(tasks={"mine": {"kind": "multiple_choice"}})
    del inputs["questions"]
    with pytest.raises(UsageError, match="the task `mine` has nothing to ask"):
        evaluated(config, inputs, make_artifact, make_context())


def test_a_data_set_of_ones_own_counts_by_content(tmp_path: Path) -> None:
    def config(path: Path) -> evaluate.Config:
        return evaluate.Config(tasks={"mine": {"kind": "multiple_choice", "dataset": str(path)}})

    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    with pytest.raises(InputError, match=r"the task `mine`: the dataset `.*first\.jsonl` is not there"):
        evaluate.outside(config(first))
    question = json.dumps({"query": "2 + 2 =", "choices": ["3", "4"], "gold": 1})
    first.write_text(question)
    shutil.copyfile(first, second)
    shutil.move(second, tmp_path / "elsewhere")
    (tmp_path / "moved").mkdir()
    second = Path(shutil.move(tmp_path / "elsewhere", tmp_path / "moved" / "first.jsonl"))
    assert evaluate.outside(config(first)) == evaluate.outside(config(second))
    second.write_text(question + "\n")
    assert evaluate.outside(config(first)) != evaluate.outside(config(second))


def test_tasks_come_from_files_and_only_headlines_go_to_mlflow(
    tmp_path: Path,
    inputs: dict[str, Artifact],
    make_artifact: Callable[..., Any],
    make_context: Callable[..., Any],
) -> None:
    """A task of one's own in a file, beside a declared one whose data are elsewhere; no tokens are needed for them."""
    folder = tmp_path / "recipe"
    (folder / "data" / "eval_gauntlet").mkdir(parents=True)
    pair = {"good": "line 1 says", "bad": "says 1 line", "kind": "x"}
    (folder / "pairs.jsonl").write_text("\n".join([json.dumps(pair)] * 2))
    (folder / "mine.yaml").write_text(
        "kind: minimal_pairs\ndataset: pairs.jsonl\nsentence: '{{good}}'\nother: '{{bad}}'\ngroup: '{{kind}}'\n"
    )
    choice = {"query": "line 1 says", "choices": ["that", "what"], "gold": 0}
    (folder / "data" / "eval_gauntlet" / "copa.jsonl").write_text(json.dumps(choice))
    raw = {"datasets": "data", "tasks": {"mine": {"file": "mine.yaml"}, "copa": None}}
    config = evaluate.Config.model_validate(raw, context={"folder": folder})
    assert list(evaluate.outside(config)) == ["mine", "copa"]
    del inputs["tokens"]
    draft, artifact = evaluated(config, inputs, make_artifact, make_context())
    assert set(draft.metrics) == {"evaluate/mine/acc", "evaluate/copa/acc"}
    table = pq.read_table(artifact.data / "scores.parquet").to_pylist()
    assert {(row["task"], row["metric"], row["group"]) for row in table} >= {
        ("mine", "likelihood_diff", "x"),
        ("copa", "brier_score", None),
        ("copa", "coverage", "confidence >= 0.9"),
    }
    with pytest.raises(UsageError, match="the task `held_out` reads held-out text"):
        evaluated(evaluate.Config(), inputs, make_artifact, make_context(), "without")


def test_where_data_lie_is_no_part_of_what_a_task_is(tmp_path: Path) -> None:
    settings = []
    for name in ("here", "there"):
        config = evaluate.Config(datasets=str(tmp_path / name), tasks={"copa": None})
        settings.append(result_settings(config))
    assert settings[0] == settings[1]
    assert settings[0]["tasks"]["copa"]["target_delimiter"] == " "
    assert settings[0] != result_settings(evaluate.Config(datasets="x", tasks={"copa": {"num_fewshot": 1}}))


def test_every_mistake_in_tasks_is_named_at_once() -> None:
    tasks = {"arc_eazy": None, "mine": {"file": "absent.yaml"}}
    with pytest.raises(ValidationError) as caught:
        evaluate.Config(datasets="x", tasks=tasks)
    assert "did you mean `arc_easy`" in str(caught.value)
    assert "absent.yaml` is no file" in str(caught.value)


def test_mlflow_gets_the_first_headline_of_every_task_before_any_second() -> None:
    tasks = evaluate.Config(
        tasks={
            "a": {"kind": "multiple_choice", "metrics": ["acc_norm", "acc"]},
            "b": {"kind": "multiple_choice", "metrics": ["acc"]},
        }
    ).tasks
    scores = [
        (task, Score(metric, 0.5, None, 1, group))
        for task in "ab"
        for metric in ("acc", "acc_norm", "brier_score")
        for group in (None, "g")
    ]
    assert list(evaluate.headlines(tasks, scores)) == ["evaluate/a/acc_norm", "evaluate/b/acc", "evaluate/a/acc"]


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        ({"mine": {"kind": "multiple"}}, "'bits_per_byte', 'multiple_choice', 'schema'"),
        ({"a/b": {"kind": "samples"}}, "`a/b` has other characters"),
        ({"mine": {"kind": "samples", "prompt": "x"}}, "Extra inputs"),
    ],
)
def test_tasks_that_cannot_be_are_refused(tasks: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        evaluate.Config(tasks=tasks)


def test_evaluation_leaves_the_caller_with_gradients(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    evaluated(evaluate.Config(), inputs, make_artifact, make_context())
    assert torch.is_grad_enabled()
