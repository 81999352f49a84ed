"""conversations and finetune: rows have verdicts, packing leaks nothing, and a model learns to answer and to stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.support.small_chat import tokenizer_of
from torch.distributed.checkpoint.filesystem import FileSystemReader

from bessemer import storage
from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, NothingLeft, Stopped, UsageError
from bessemer.generate.engine import Generator
from bessemer.generate.settings import GenerationSettings
from bessemer.model.config import LoraSettings, ModelShape
from bessemer.model.hub import export_model, load_model, stored_dtype
from bessemer.model.transformer import IGNORED, Transformer
from bessemer.stages import conversations, finetune
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.row_tables import CONVERSATIONS, read_split
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.objectives.supervised import Supervised
from bessemer.train.sampler import Rows

WORDS = ["red", "blue", "green", "black"]
THINGS = ["car", "boat", "tree", "bird", "stone"]
ROWS = [
    {"prompt": f"Which colour has the {thing} that is {word}?", "completion": f"The {thing} is {word}."}
    for word in WORDS
    for thing in THINGS
]
SETTINGS: dict[str, Any] = {
    "max_seq_length": 64,
    "global_batch_size": 4,
    "max_steps": 60,
    "learning_rate": 0.01,
    "embedding_learning_rate": 0.01,
    "log_interval": 1,
    "num_threads": 1,
    "dtype": "float32",
}


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerFolder:
    return tokenizer_of([*(" ".join(row.values()) for row in ROWS), "user assistant system"])


@pytest.fixture
def inputs(make_model: Callable[..., Any], tokenizer: TokenizerFolder) -> dict[str, Artifact]:
    found: dict[str, Artifact] = make_model(tokenizer)
    return found


@pytest.fixture
def converse(inputs: dict[str, Artifact], read_rows: Callable[..., Any]) -> Callable[..., Any]:
    """`converse(rows)` runs the stage `conversations` on a file of them."""
    return partial(read_rows, conversations, inputs)


@pytest.fixture
def tune(inputs: dict[str, Artifact], run_stage: Callable[..., Any]) -> Callable[..., Any]:
    """`tune("name", rows=artifact, max_steps=3)` runs the stage `finetune`."""

    def run(name: str, *, rows: Artifact, **changes: Any) -> Any:
        return run_stage(finetune, inputs | {"conversations": rows}, name, **SETTINGS | changes)[0]

    return run


def losses(draft: Any) -> dict[int, float]:
    files = sorted((draft.path / "metrics").glob("*.jsonl"))
    return {line["step"]: line["metrics"]["train/loss"] for file in files for line in storage.read_lines(file)}


def answer(folder: Path, question: str) -> tuple[str, str]:
    generator = Generator.load(folder)
    prompt = ChatTemplate.of(generator.tokenizer).prompt([{"role": "user", "content": question}]).tolist()
    [found] = generator.complete([prompt], [GenerationSettings(temperature=0, max_new_tokens=24)])
    return found.text, found.finish_reason


# ---------------------------------------------------------------------------------------------- conversations


def test_every_row_has_a_verdict_and_a_good_one_its_tokens(converse: Any, tokenizer: TokenizerFolder) -> None:
    bad = [
        "{broken",
        {"prompt": "Hi?"},
        {"prompt": "", "completion": "x"},
        [1],
        {"prompt": "a " * 90, "completion": "b"},
    ]
    draft, artifact = converse([*ROWS, *bad], max_seq_length=64, split={"validation": 0.2})
    assert (draft.counts.created, draft.counts.documents_out) == (25, 20)
    assert draft.counts.removed_by_rule == {
        "malformed_json": 1, "no_answer": 1, "empty_message": 1, "not_an_object": 1, "too_long": 1,
    }  # fmt: skip
    [ledger] = [pq.read_table(path).to_pylist() for path in artifact.ledger.glob("*.parquet")]
    [long] = [row for row in ledger if row["rule"] == "too_long"]
    assert (long["threshold"], long["value"] > 64) == (64, True)
    rows = [row for part in artifact.parts() for row in pq.read_table(part).to_pylist()]
    assert {row["split"] for row in rows} == {"tune", "validation"}
    template = ChatTemplate.of(tokenizer)
    for row in rows:
        encoded = template.encode(row["messages"])
        assert encoded.ids[: len(row["ids"])].tolist() == row["ids"]
        assert row["ids"][-1] == template.stop_ids[0]
        assert row["learned"][-1], "the end of the answer is learned"


def test_equal_prompts_stay_on_one_side_of_the_split(converse: Any) -> None:
    rows = [{"prompt": f"Question {n % 10}?", "completion": f"Answer {n}."} for n in range(200)]
    _, artifact = converse(rows, split={"validation": 0.3, "test": 0.2})
    found: dict[str, set[str]] = {}
    for part in artifact.parts():
        for row in pq.read_table(part, columns=["messages", "split"]).to_pylist():
            found.setdefault(row["messages"][0]["content"], set()).add(row["split"])
    assert len(found) == 10
    assert all(len(splits) == 1 for splits in found.values())
    assert len(set.union(*found.values())) > 1


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_an_array_and_lines_are_the_same_rows_and_other_columns_are_kept(converse: Any, name: str) -> None:
    _, artifact = converse([{"question": "2 + 2?", "answer": "4", "level": 1}] * 2, name=name, split={"validation": 0})
    [part] = artifact.parts()
    rows = pq.read_table(part).to_pylist()
    assert [row["messages"][1]["content"] for row in rows] == ["4", "4"]
    assert [json.loads(row["fields"]) for row in rows] == [{"level": 1}] * 2
    assert len({row["id"] for row in rows}) == 2


def test_prompts_alone_are_taken_where_no_answer_is_asked_for(converse: Any, tune: Any) -> None:
    _, artifact = converse([{"prompt": "Say something."}], require_answer=False, split={"validation": 0})
    [part] = artifact.parts()
    [row] = pq.read_table(part).to_pylist()
    assert not any(row["learned"])
    with pytest.raises(NothingLeft, match="has an answer to learn from"):
        tune("none", rows=artifact)


def test_a_plan_does_not_read_all_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.stages.engine.row_files.ROWS_TRIED", 3)
    file = tmp_path / "rows.jsonl"
    config = conversations.Config(paths=[str(file)])
    file.write_text("{}\n" * 3)
    with pytest.raises(InputError, match="none of 3 rows can be used"):
        conversations.outside(config)
    file.write_text("{}\n" * 4)
    assert conversations.outside(config), "what the fourth row is, the run tells"


def test_a_file_without_conversations_is_refused(converse: Any) -> None:
    with pytest.raises(NothingLeft, match="none of 2 rows can be used: 2 removed by `no_conversation`"):
        converse([{"text": "a page"}, {"text": "another"}])


def test_a_template_that_does_not_fit_the_tokenizer_is_refused(converse: Any, inputs: dict[str, Artifact]) -> None:
    file = inputs["tokenizer"].data / "tokenizer_config.json"
    settings = storage.read_json(file)
    template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    storage.write_json(file, settings | {"chat_template": template})
    with pytest.raises(InputError, match="ends an answer without a special token"):
        converse(ROWS)


# ---------------------------------------------------------------------------------------------- the objective


def test_a_packed_row_is_as_good_as_rows_of_their_own(converse: Any, tokenizer: TokenizerFolder) -> None:
    """No conversation sees another: the loss of a packed row is the sum of the losses of its conversations."""
    _, artifact = converse(ROWS, split={"validation": 0})
    shape = ModelShape(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    model = Transformer(shape.resolve(vocab_size=tokenizer.vocab_size, max_seq_length=64))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    objective = Supervised(artifact.parts(), length=64)
    assert 1 < objective.num_rows < len(ROWS)
    rows = Rows(np.zeros(objective.num_rows, np.int64), np.arange(objective.num_rows))
    assert len(objective.documents(rows)) == len(ROWS)
    together = objective.loss(model, objective.batch(1, rows))
    alone = torch.zeros(())
    count = 0
    found = read_split(artifact.parts(), CONVERSATIONS, "tune", ["ids", "learned"])
    for number in range(len(ROWS)):
        ids = torch.from_numpy(found["ids"][number].astype(np.int64))
        learned = torch.from_numpy(found["learned"][number].copy())
        targets = torch.where(learned[1:], ids[1:], IGNORED)
        alone = alone + model(ids[None, :-1], targets=targets[None])
        count += int(learned.sum())
    assert int(together.weight) == count
    torch.testing.assert_close(together.sum, alone, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------------------------- the stage


def test_a_model_learns_to_answer_and_to_stop(converse: Any, tune: Any) -> None:
    _, rows = converse(ROWS, split={"validation": 0.1})
    # Half of the rates around 0.01 diverge late, so there the outcome would depend on rounding.
    draft = tune("tuned", rows=rows, max_steps=300, learning_rate=0.003, embedding_learning_rate=0.003)
    assert losses(draft)[300] < 0.1 * losses(draft)[1]
    assert draft.metrics["train/packing_ratio"] > 0.7
    right = [answer(draft.data, row["prompt"]) == (row["completion"], "stop") for row in ROWS]
    assert sum(right) >= 17
    assert storage.read_json(draft.data / "generation_config.json")["eos_token_id"][0] == 2


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_adapters_are_trained_alone_kept_apart_and_merged(
    converse: Any, tune: Any, inputs: dict[str, Artifact], optimizer: str
) -> None:
    _, rows = converse(ROWS, split={"validation": 0.1})
    settings = {"optimizer": optimizer, "max_steps": 40, "embedding_learning_rate": "auto"}
    draft = tune("adapted", rows=rows, lora={"r": 4}, **settings)
    assert losses(draft)[40] < losses(draft)[1]
    assert {path.name for path in (draft.data / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    before, after = load_model(inputs["model"].data), load_model(draft.data)
    assert torch.equal(before.embed_tokens, after.embed_tokens)
    assert not torch.equal(before.blocks()[0].qkv, after.blocks()[0].qkv)
    [checkpoint] = list(draft.checkpoints.glob("step-40"))
    names = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    assert names
    assert all(".adapters." in name for name in names), "what does not learn is not saved again"
    assert torch.equal(load_model(checkpoint / "model").blocks()[1].down, after.blocks()[1].down)


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_a_stopped_run_continues_to_the_same_model(
    converse: Any, tune: Any, make_context: Any, lora: dict[str, int] | None
) -> None:
    _, rows = converse(ROWS, split={"validation": 0.1})
    whole = tune("whole", rows=rows, max_steps=8, lora=lora)
    context = make_context()
    context.progress = lambda step, *_, **__: context.stopping.set() if step == 3 else None
    with pytest.raises(Stopped):
        tune("halves", rows=rows, max_steps=8, lora=lora, context=context)
    halves = tune("halves", rows=rows, max_steps=8, lora=lora, attempt=2)
    assert (whole.data / "model.safetensors").read_bytes() == (halves.data / "model.safetensors").read_bytes()
    assert losses(whole) == losses(halves)


def test_z_loss_reaches_the_objective(converse: Any, tune: Any) -> None:
    """The first training loss includes it; the loss on held-out rows does not."""
    _, rows = converse(ROWS, split={"validation": 0.1})
    plain, weighed = (tune(f"z-{z_loss}", rows=rows, max_steps=1, z_loss=z_loss) for z_loss in (0.0, 0.1))
    assert losses(weighed)[1] > losses(plain)[1] + 0.5
    assert weighed.metrics["validation/loss"] < losses(weighed)[1] - 0.5


def test_rates_follow_from_those_of_pre_training(converse: Any, tune: Any, inputs: dict[str, Artifact]) -> None:
    _, rows = converse(ROWS, split={"validation": 0.1})
    auto = {"learning_rate": "auto", "embedding_learning_rate": "auto", "max_steps": 1}
    elsewhere = tune("elsewhere", rows=rows, **auto).resolved
    assert (elsewhere["optimizer"], elsewhere["learning_rate"]) == ("adamw", 2e-5)
    known = {"optimizer": "muon", "matrix": 0.02, "embedding": 0.1, "head": 0.1, "vector": 0.1, "weight_decay": 0.1}
    inputs["model"].manifest.resolved["pretraining_rates"] = known
    ours = tune("ours", rows=rows, **auto).resolved
    assert (ours["optimizer"], ours["weight_decay"]) == ("muon", 0.0)
    assert ours["learning_rate"] == pytest.approx(finetune.RATES.share * 0.02)
    assert ours["pretraining_rates"] == known, "a later stage finds them too"
    adapted = tune("adapted", rows=rows, lora={}, **auto).resolved
    assert (adapted["optimizer"], adapted["learning_rate"]) == ("adamw", 2e-4)


def test_what_cannot_be_is_said_before_training(converse: Any, tune: Any, inputs: dict[str, Artifact]) -> None:
    _, rows = converse(ROWS)
    with pytest.raises(UsageError, match=r"\d+ conversations have more than `max_seq_length` 16 tokens"):
        tune("short", rows=rows, max_seq_length=16)
    with pytest.raises(UsageError, match="`r` of `lora` is 65, and the model's hidden size is 64"):
        tune("wide", rows=rows, lora={"r": 65})
    with pytest.raises(UsageError, match="the model has a context of 64 tokens"):
        tune("long", rows=rows, max_seq_length=128)
    rows.manifest.inputs["tokenizer"] = {"stage": "t", "fingerprint": "f", "digest": "another"}
    with pytest.raises(UsageError, match="made with another tokenizer or chat template"):
        tune("other", rows=rows)
    rows.manifest.inputs.pop("tokenizer")
    with pytest.raises(UsageError, match="no rule for its rate is known"):
        tune("muon", rows=rows, optimizer="muon", learning_rate="auto")
    with pytest.raises(
        ValueError, match="`lora` with `optimizer: muon` has no `auto` learning rate; set `learning_rate`"
    ):
        finetune.Config(lora=LoraSettings(), optimizer="muon")


@pytest.mark.parametrize(
    ("start", "setting", "stored"),
    [
        (torch.bfloat16, {}, torch.bfloat16),
        (torch.float32, {}, torch.float32),
        (torch.bfloat16, {"export_dtype": "float32"}, torch.float32),
        (torch.float32, {"export_dtype": "bfloat16", "lora": {"r": 2}}, torch.bfloat16),
    ],
)
def test_weights_are_stored_in_the_type_of_the_start_or_as_told(
    inputs: dict[str, Artifact],
    converse: Any,
    tune: Any,
    make_artifact: Callable[..., Any],
    start: torch.dtype,
    setting: dict[str, Any],
    stored: torch.dtype,
) -> None:
    draft, seal = make_artifact("model", "start")
    tokenizer = inputs["tokenizer"].data
    export_model(load_model(inputs["model"].data), draft.data, tokenizer=tokenizer, stop_ids=[1], dtype=start)
    inputs["model"] = seal()
    tuned = tune("tuned", rows=converse(ROWS)[1], max_steps=1, **setting)
    assert stored_dtype(tuned.data) == stored
    assert tuned.resolved["export_dtype"] == str(stored).removeprefix("torch.")
    assert json.loads((tuned.data / "config.json").read_text())["dtype"] == tuned.resolved["export_dtype"]
    if "lora" in setting:
        described = json.loads((tuned.data / "adapter" / "adapter_config.json").read_text())
        assert described["base_model_name_or_path"] == str(inputs["model"].data)
