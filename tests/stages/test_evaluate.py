"""The stage evaluate: default tasks, written files, resuming, and errors before any work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from tests.support.small_chat import tokenizer_of, write_model

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, RequirementNotMet, UsageError
from bessemer.evaluate.classifier import train
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.scores import SCORES_SCHEMA, Result
from bessemer.evaluate.task import Task
from bessemer.model import hub
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.recipe.settings import result_settings
from bessemer.stages import base_model, canaries, evaluate
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.row_tables import CONVERSATIONS, PREFERENCES
from bessemer.tokens.tokenizer import TokenizerFolder
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
    evaluate.check(config, inputs)
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
        assert draft.resolved["dtype"] == dtype
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
    done: list[str] = []
    for kind in (BitsPerByte, MultipleChoice, Samples):

        def recorded(task: Task, *rest: Any, score: Callable[..., Result] = kind.score) -> Result:
            done.append(type(task).__name__)
            return score(task, *rest)

        monkeypatch.setattr(kind, "score", recorded)
    evaluate.run(evaluate.Config(), inputs, draft, make_context())
    assert done == ["MultipleChoice", "Samples"]
    shutil.rmtree(draft.work)
    shutil.rmtree(whole.path / "work", ignore_errors=True)
    for path in whole.data.rglob("*.*"):
        assert path.read_bytes() == (seal().data / path.relative_to(whole.data)).read_bytes(), path.name


def test_a_task_without_questions_is_an_error(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    config = evaluate.Config(tasks={"mine": {"kind": "multiple_choice"}})
    del inputs["questions"]
    with pytest.raises(UsageError, match="the task `mine` has no questions"):
        evaluated(config, inputs, make_artifact, make_context())


def test_a_data_set_of_ones_own_counts_by_content(tmp_path: Path) -> None:
    def config(path: Path) -> evaluate.Config:
        return evaluate.Config(tasks={"mine": {"kind": "multiple_choice", "dataset": str(path)}})

    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    with pytest.raises(InputError, match=r"the task `mine`: the dataset `.*first\.jsonl` does not exist"):
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
    """A custom task in a file, next to a declared task with its data in another folder. Neither needs tokens."""
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
    assert "absent.yaml` is not a file" in str(caught.value)


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        ({"mine": {"kind": "multiple"}}, "'bits_per_byte', 'multiple_choice', 'schema'"),
        ({"a/b": {"kind": "samples"}}, "the task name `a/b` may contain only"),
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


# ------------------------------------------------------------------------------------------------ several models


@pytest.fixture
def two(inputs: dict[str, Artifact], make_artifact: Callable[..., Any]) -> dict[str, Artifact]:
    """The same with a second model of other weights, and documents of which the training ones hold a question."""
    base = inputs["model/pretrain"]
    draft, seal_tuned = make_artifact("model", "tuned")
    shutil.copytree(base.data, draft.data, dirs_exist_ok=True)
    model = hub.load_model(base.data)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    export_model(model, draft.data, stop_ids=[TokenizerFolder.open(base.data).end_of_text_id])
    draft, seal_documents = make_artifact("documents")
    held_out = [(str(number), text, "test") for number, text in enumerate(TEXTS)]
    trained_on = [("seen", f"something else, and then: {TEXTS[3].upper()}", "train"), ("other", "nothing", "tune")]
    rows = [
        {"id": id, "text": text, "content_hash": "", "url": id, "source": "a", "split": split, "metadata": "{}"}
        for id, text, split in (*held_out, *trained_on)
    ]
    write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), draft.data / "00000.parquet")
    draft, seal_questions = make_artifact("questions", "asked")
    queries = ("line 3 says that", "a queue holds what somebody will", "a file is read by whoever opens")
    lines = [json.dumps({"query": query, "choices": [" the", " what"], "gold": 0}) for query in queries]
    (draft.data / "test.jsonl").write_text("\n".join(lines))
    return inputs | {"model/tuned": seal_tuned(), "documents": seal_documents(), "questions": seal_questions()}


def test_models_are_evaluated_side_by_side_and_compared(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, artifact = evaluated(evaluate.Config(), two, make_artifact, make_context())
    scores = pq.read_table(artifact.data / "scores.parquet").to_pylist()
    values = {(row["model"], row["task"], row["metric"], row["group"]): row["value"] for row in scores}
    key = ("held_out", "bits_per_byte")
    assert draft.metrics["evaluate/held_out/bits_per_byte"] == values["tuned", *key, None]
    assert draft.metrics["evaluate/pretrain/held_out/bits_per_byte"] == values["pretrain", *key, None]
    compared = pq.read_table(artifact.data / "comparisons.parquet").to_pylist()
    found = {(row["task"], row["metric"]): row for row in compared}
    assert set(found) == {key, ("questions", "acc"), ("questions", "acc_norm"), ("questions", "acc_mutual_info")}
    row = found[key]
    assert (row["model_a"], row["model_b"], row["n"]) == ("pretrain", "tuned", 12)
    assert row["difference"] == pytest.approx(values["tuned", *key, None] - values["pretrain", *key, None])
    assert row["low"] < row["difference"] < row["high"]
    samples = [json.loads(line) for line in (artifact.data / "samples.jsonl").read_text().splitlines()]
    prompts = [[s["prompt"] for s in samples if s["model"] == model] for model in ("pretrain", "tuned")]
    assert prompts[0] == prompts[1]


def test_contaminated_items_are_named_and_the_others_scored_alone(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    _, artifact = evaluated(evaluate.Config(), two, make_artifact, make_context())
    rows = pq.read_table(artifact.data / "contamination.parquet").to_pylist()
    seen = [row for row in rows if row["contaminated"]]
    assert {(row["document"], row["url"], row["split"]) for row in seen} == {("seen", "seen", "train")}
    # The twelve held-out lines differ in their number, and the training text has line 3.
    assert [row["id"] for row in seen if row["task"] == "questions"] == ["test:1"]
    scores = pq.read_table(artifact.data / "scores.parquet").to_pylist()
    shares = {(r["model"], r["task"]): (r["value"], r["n"]) for r in scores if r["metric"] == "contaminated"}
    assert shares == {
        ("pretrain", "held_out"): (pytest.approx(1 / 12), 12), ("tuned", "held_out"): (pytest.approx(1 / 12), 12),
        ("pretrain", "questions"): (pytest.approx(1 / 3), 3), ("tuned", "questions"): (pytest.approx(1 / 3), 3),
    }  # fmt: skip
    clean = {(r["model"], r["metric"]): (r["value"], r["n"]) for r in scores if r["group"] == "clean items"}
    items = pq.read_table(artifact.data / "items" / "tuned" / "questions.parquet").to_pylist()
    assert clean["tuned", "acc"] == (np.mean([row["acc"] for row in items[1:]]), 2)
    assert clean["tuned", "bits_per_byte"][1] == 11
    off = evaluate.Config(contamination=None)
    _, without = evaluated(off, two, make_artifact, make_context(), "off")
    assert not (without.data / "contamination.parquet").exists()


def test_conversations_and_preferences_are_training_text_too(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    def names(id: str) -> dict[str, Any]:
        return {"id": id, "url": f"file:{id}", "source": "a", "split": "tune"}

    def said(role: str, content: str) -> list[dict[str, str]]:
        return [{"role": role, "content": content}]

    asked = {"messages": said("user", "A queue holds") + said("assistant", "what somebody will the")}
    chosen = {"prompt": said("user", "Who?"), "chosen": said("assistant", "A file is read by whoever opens the")}
    rows = {
        "conversations": (
            CONVERSATIONS,
            names("asked") | asked | {"fields": "{}", "ids": [1], "learned": [True], "prompt_length": 1},
        ),
        "preferences": (PREFERENCES, names("chosen") | chosen | {"prompt_ids": [1]}),
    }
    for kind, (schema, row) in rows.items():
        draft, seal = make_artifact(kind)
        write_parquet(pa.Table.from_pylist([row], schema=schema), draft.data / "00000.parquet")
        two[kind] = seal()
    _, artifact = evaluated(evaluate.Config(), two, make_artifact, make_context())
    found = pq.read_table(artifact.data / "contamination.parquet").to_pylist()
    documents = {row["id"]: row["document"] for row in found if row["task"] == "questions"}
    assert documents == {"test:1": "seen", "test:2": "asked", "test:3": "chosen"}


def test_an_interrupted_comparison_continues_to_the_same_bytes(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    _, whole = evaluated(evaluate.Config(), two, make_artifact, make_context(), "whole")
    draft, seal = make_artifact("scores", "interrupted")

    class Killed(Exception):
        pass

    for most in (1, 4, 6):

        def killed(done: int, total: int, unit: str, *, most: int = most, **facts: object) -> None:
            if done == most or unit == "parts":
                raise Killed

        with pytest.raises(Killed):
            evaluate.run(evaluate.Config(), two, draft, make_context(progress=killed))
    evaluate.run(evaluate.Config(), two, draft, make_context())
    shutil.rmtree(draft.work)
    shutil.rmtree(whole.path / "work")
    for path in whole.data.rglob("*.*"):
        assert path.read_bytes() == (seal().data / path.relative_to(whole.data)).read_bytes(), path.name


def test_a_requirement_that_is_not_met_ends_the_stage_with_its_scores_on_disk(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, _ = make_artifact("scores")
    wanted = {
        "held_out/bits_per_byte": "<= 0.1",
        "pretrain/held_out/bits_per_byte": "< 100",
        "tuned - pretrain/questions/acc": "> 1",
    }
    with pytest.raises(RequirementNotMet) as caught:
        evaluate.run(evaluate.Config(require=wanted), two, draft, make_context())
    assert caught.value.message.startswith("2 requirements are not met: `held_out/bits_per_byte` is ")
    assert caught.value.exit_code == 1
    assert len(pq.read_table(draft.data / "scores.parquet"))
    assert len(pq.read_table(draft.data / "comparisons.parquet"))
    config = evaluate.Config(require={"questions/accuracy": "> 0"})
    with pytest.raises(UsageError, match="`questions/accuracy`, which was not measured") as unknown:
        evaluated(config, two, make_artifact, make_context(), "unknown")
    assert unknown.value.hint == "did you mean `questions/acc`?"
    config = evaluate.Config(require={"tune/questions/acc": "> 0"})
    with pytest.raises(UsageError, match="the model `tune`"):
        evaluated(config, two, make_artifact, make_context(), "early")
    assert not (draft.path.parent / "early" / "data").exists()
    with pytest.raises(ValidationError, match="is not a condition"):
        evaluate.Config(require={"questions/acc": "0.3"})


def test_further_models_come_by_path_and_count_by_content(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    earlier, checkpoint = two["model/tuned"], tmp_path / "checkpoints" / "step-7"
    shutil.copytree(earlier.data, checkpoint / "model")
    (tmp_path / "runs" / "some-run").mkdir(parents=True)
    shutil.copytree(earlier.path, tmp_path / "runs" / "artifacts" / "pretrain" / "abc")
    stages = [{"kind": "pretrain", "produces": "model", "fingerprint": "abc"}, {"kind": "x", "produces": "scores"}]
    (tmp_path / "runs" / "some-run" / "plan.json").write_text(json.dumps({"stages": stages}))
    places = [earlier.data, earlier.path, checkpoint, checkpoint / "model", tmp_path / "runs" / "some-run"]
    configs = [evaluate.Config(models={"before": str(place)}) for place in places]
    contents = [evaluate.outside(config) for config in configs]
    assert all(content == contents[0] for content in contents)
    assert contents[0] != evaluate.outside(evaluate.Config(models={"before": str(two["model/pretrain"].path)}))
    del two["model/tuned"]
    config = evaluate.Config(models={"before": str(checkpoint)}, tasks={"questions": {"kind": "multiple_choice"}})
    _, artifact = evaluated(config, two, make_artifact, make_context())
    assert pq.read_table(artifact.data / "scores.parquet")["model"][0].as_py() == "before"
    clash = evaluate.Config(models={"pretrain": str(checkpoint)})
    with pytest.raises(UsageError, match="two models are called `pretrain`"):
        evaluated(clash, two, make_artifact, make_context(), "clash")
    with pytest.raises(InputError, match="holds no model"):
        evaluate.outside(evaluate.Config(models={"before": str(tmp_path / "runs")}))


def test_what_a_model_should_not_do_is_measured_with_the_training_documents(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    tasks = {
        "canaries": {"kind": "exposure", "num_candidates": 100, "num_controls": 2},
        "personal": {"kind": "personal_data", "prompts": ["line 1"], "generation": {"max_new_tokens": 4}},
        "toxic": {"kind": "toxicity", "dataset": str(tmp_path / "prompts.jsonl"), "num_samples": 2},
    }
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "line 1 says"}')
    _, corpus = _planted(two["documents"], make_artifact, make_context)
    config = evaluate.Config(tasks=tasks, contamination=None)
    with pytest.raises(UsageError, match="the task `toxic` reads a classifier, and no stage above makes classifier"):
        evaluated(config, two | {"documents": corpus}, make_artifact, make_context(), "unclassified")
    draft, seal_classifier = make_artifact("classifier")
    train([(["rude", "kind"], np.array([True, False]))]).save(draft.data)
    given = two | {"documents": corpus, "classifier": seal_classifier()}
    _, artifact = evaluated(config, given, make_artifact, make_context())
    scores = pq.read_table(artifact.data / "scores.parquet").to_pylist()
    found = {(row["task"], row["metric"], row["group"]) for row in scores}
    assert found >= {("canaries", "exposure", "copies 2"), ("canaries", "control_exposure", None)}
    assert found >= {("personal", "leak_rate", None), ("personal", "personal_data_rate", None)}
    assert found >= {("toxic", "expected_maximum_toxicity", None), ("toxic", "toxicity_probability", None)}
    del two["documents"]
    with pytest.raises(UsageError, match="the task `canaries` reads training documents"):
        evaluated(config, two, make_artifact, make_context(), "without")


def _planted(documents: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> Any:
    draft, seal = make_artifact("documents", "planted")
    canaries.run(canaries.Config(num_copies=(2,), num_canaries=2), {"documents": documents}, draft, make_context())
    return draft, seal()


def test_tokens_of_other_documents_are_refused(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    made_from = {"documents": {"stage": "dedup", "fingerprint": "x", "digest": "another"}}
    tokens = replace(two["tokens"], manifest=replace(two["tokens"].manifest, inputs=made_from))
    with pytest.raises(UsageError, match="the tokens were not made from the documents"):
        evaluated(evaluate.Config(), two | {"tokens": tokens}, make_artifact, make_context())


def test_personal_data_that_a_model_learnt_by_heart_is_found_with_its_document(
    two: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    """Found with the patterns of `clean`: personal data of the training text is a leak, invented data is not."""
    base = two["model/pretrain"]
    tokenizer = TokenizerFolder.open(base.data)
    ids = tokenizer.encode("ask jo@cats.example")
    model = hub.load_model(base.data)
    row = torch.tensor([[*ids, tokenizer.end_of_text_id]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        model(row[:, :-1], targets=row[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    draft, seal_model = make_artifact("model", "leaky")
    shutil.copytree(base.data, draft.data, dirs_exist_ok=True)
    export_model(model, draft.data, stop_ids=[tokenizer.end_of_text_id])
    draft, seal_documents = make_artifact("documents", "private")
    private = {"id": "letter", "text": "Please ask jo@cats.example about it.", "split": "train"}
    others = {"content_hash": "", "url": "file:letter", "source": "a", "metadata": "{}"}
    write_parquet(pa.Table.from_pylist([private | others], schema=SCHEMA), draft.data / "00000.parquet")
    task = {"kind": "personal_data", "prompts": ["ask"], "generation": {"temperature": 0, "max_new_tokens": 24}}
    config = evaluate.Config(tasks={"personal": task}, contamination=None)
    leaky = {"model/leaky": seal_model(), "tokens": two["tokens"]}
    rates, documents = [], (two["documents"], seal_documents())
    for number, given in enumerate(documents):
        _, artifact = evaluated(config, leaky | {"documents": given}, make_artifact, make_context(), f"leak{number}")
        (item,) = pq.read_table(artifact.data / "items" / "leaky" / "personal.parquet").to_pylist()
        assert (item["kinds"], item["found"]) == (["email"], ["jo@cats.example"])
        rates.append((item["personal_data_rate"], item["leak_rate"], item["documents"]))
    assert rates == [(1.0, 0.0, [""]), (1.0, 1.0, ["letter"])]


def test_the_plan_finds_a_model_without_the_chat_template_that_a_task_needs(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(["What is asked, and what is answered."])
    for name, template in (("base", None), ("chat", tokenizer.chat_templates["default"])):
        changed = TokenizerFolder(tokenizer.tokenizer, tokenizer.settings | {"chat_template": template}, name)
        changed.save(tmp_path / "tokenizer")
        write_model(tmp_path / name, tmp_path / "tokenizer")
    asked = {"kind": "generation", "dataset": "x.jsonl", "query": "{{q}}", "references": "a"}
    spoken = {"apply_chat_template": True}
    for settings, folder, refused in ((spoken, "base", True), (spoken, "chat", False), ({}, "base", False)):
        model = base_model.Config(path=str(tmp_path / folder))
        config = evaluate.Config.model_validate({"tasks": {"talk": asked | settings}})
        further = evaluate.Config.model_validate(
            {"tasks": {"talk": asked | settings}, "models": {"other": str(tmp_path / folder)}}
        )
        for one, inputs in ((config, {"model/base_model": model}), (further, {})):
            with pytest.raises(InputError, match="has no chat template") if refused else nullcontext():
                evaluate.check(one, inputs)
