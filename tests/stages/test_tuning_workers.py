"""Two workers tune a model as one does: the same rows, answers and figures, and the same model but for rounding.

Most of it in a process group of two that runs one stage after the other, without Ray, whose part is the same for all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from bessemer import storage
from bessemer.artifacts.store import Artifact
from bessemer.errors import BessemerError, Stopped
from bessemer.fingerprint import fingerprint
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model, load_model
from bessemer.model.transformer import Transformer
from bessemer.stages import align, conversations, finetune, preferences, reinforce, reward
from bessemer.stages.base import Context, Draft
from bessemer.stages.engine import training_workers
from bessemer.stages.engine.training_workers import WorkerContext
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

COLOURS = ["red", "blue"]
THINGS = ["car", "boat", "tree", "bird", "stone", "house", "field", "wood"]
ROWS = [
    {"prompt": f"Which colour has the {thing}?", "completion": f"It is {colour}.", "liked": "It is red."}
    for thing in THINGS
    for colour in COLOURS
    for _ in range(2)
]
PAIRS = [{"prompt": row["prompt"], "chosen": "It is red.", "rejected": "It is blue, or so."} for row in ROWS]
STAGES: dict[str, Any] = {"finetune": finetune, "align": align, "reward": reward, "reinforce": reinforce}
TUNING: dict[str, Any] = {
    "max_seq_length": 64, "global_batch_size": 4, "max_steps": 6, "optimizer": "adamw", "learning_rate": 2e-3,
    "embedding_learning_rate": 2e-3, "log_interval": 1, "num_threads": 1, "dtype": "float32",
}  # fmt: skip
ANSWERS = {"num_generations": 4, "max_completion_length": 8}
LIKED = {"kind": "exact_match", "column": "liked"}
REWARDS = [LIKED, {"kind": "length", "target": 5, "weight": 0.1}]
LONG = {"num_generations": 16, "max_completion_length": 44, "num_refills": 0}
SCORES = """
def some(prompts, completions, **columns):
    return [float("red" in c) if p[-3] not in "rns" else None for p, c in zip(prompts, completions)]


def none(completions, **columns):
    return [1.0 if len(completions) == 1 else None for _ in completions]
"""


@dataclass(frozen=True)
class Case:
    """A stage with settings; `sharding` on two workers only."""

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    sharding: str = "none"
    start: str = "tuned"


CASES = {
    "finetune": Case("finetune", {"micro_batch_size": 1}, start="new"),
    "finetune-muon-sharded": Case("finetune", {"optimizer": "muon"}, "full", start="new"),
    "dpo-lora": Case("align", {"dpo": {}, "lora": {}}),
    "dpo-sharded": Case("align", {"dpo": {}}, "full"),
    "kto": Case("align", {"kto": {}}),
    "reward": Case("reward"),
    "grpo": Case("reinforce", {"grpo": ANSWERS, "rewards": [LIKED]}),
    "grpo-lora-sharded": Case("reinforce", {"grpo": ANSWERS | {"beta": 0.01}, "rewards": REWARDS, "lora": {}}, "full"),
    "grpo-long-sharded": Case(
        "reinforce",
        {"grpo": LONG, "rewards": [{"kind": "regular_expression", "pattern": "ee"}], "micro_batch_size": 1},
        "full",
        start="new",
    ),
    "ppo": Case("reinforce", {"ppo": ANSWERS, "rewards": REWARDS}),
    "ppo-sharded": Case("reinforce", {"ppo": ANSWERS | {"num_iterations": 2}, "rewards": REWARDS}, "full"),
}


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerFolder:
    texts = [f"{row['prompt']} {row['completion']}" for row in ROWS] + ["user assistant, or so"]
    return TokenizerFolder.trained(train_tokenizer(texts * 5, 350))


@pytest.fixture
def inputs(
    make_artifact: Callable[..., Any], make_context: Callable[..., Any], tokenizer: TokenizerFolder, tmp_path: Path
) -> dict[str, Artifact]:
    """The models `new` and `tuned` (which answers with one of two colours), with the rows that tune them."""
    draft, seal = make_artifact("tokenizer")
    tokenizer.save(draft.data)
    found = {"tokenizer": seal()}
    for stage, rows in ((conversations, ROWS), (preferences, PAIRS)):
        file = tmp_path / f"{stage.STAGE.kind}.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        draft, seal = make_artifact(stage.STAGE.kind)
        config = stage.Config.model_validate({"paths": [str(file)], "split": {"validation": 0.3}})
        stage.run(config, found, draft, make_context())
        found[stage.STAGE.kind] = seal()
    draft, seal = make_artifact("model", "new")
    shape = ModelShape(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    model = Transformer(shape.resolve(vocab_size=tokenizer.vocab_size, max_seq_length=64))
    model.initialise(seed=0)
    export_model(model, draft.data, tokenizer=found["tokenizer"].data, stop_ids=[tokenizer.end_of_text_id])
    found["new"] = seal()
    draft, seal = make_artifact("model", "tuned")
    settings = TUNING | {"max_steps": 60, "learning_rate": 0.01, "embedding_learning_rate": 0.01}
    finetune.run(finetune.Config.model_validate(settings), found | {"model": found["new"]}, draft, make_context())
    return found | {"tuned": seal()}


def tune(
    case: Case, name: str, folder: Path, inputs: dict[str, Artifact], *, stop_at: int = 0, attempt: int = 1, **also: Any
) -> Draft:
    """Runs the stage in `folder / name`, and asks it to stop after step `stop_at`."""
    draft = Draft(folder / name, fingerprint(name), attempt=attempt)
    config = STAGES[case.kind].Config.model_validate(TUNING | case.settings | also)
    context = Context(0, 0, logging.getLogger("test"), folder / "stop", start_ray=lambda: pytest.fail("no Ray here"))
    context.progress = lambda step, *_, **__: context.stopping.set() if step == stop_at else None
    STAGES[case.kind].run(config, inputs | {"model": inputs[case.start]}, draft, context)
    return draft


def on_two_workers(folder: Path, inputs: dict[str, Artifact], jobs: list[tuple[Case, str, dict[str, Any]]]) -> None:
    """Runs the `jobs`, as `tune` takes them, one after the other in two processes; worker 0 alone is asked to stop."""
    torch.multiprocessing.spawn(_work, (folder, inputs, jobs), nprocs=2)


def _work(rank: int, folder: Path, inputs: dict[str, Artifact], jobs: list[tuple[Case, str, dict[str, Any]]]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    training_workers.resolve_training_workers = lambda context: 2
    training_workers.run_on_workers = lambda task, context, draft, *, on_step, **_: task(
        WorkerContext(context.log, lambda: rank == 0 and context.stopping.is_set(), on_step, 1)
    )
    for case, name, options in jobs:
        try:
            tune(case, name, folder, inputs, sharding=case.sharding, **options)
        except BessemerError as error:
            (folder / f"{name}-{rank}.ended").write_text(error.message)
        dist.barrier()
    dist.destroy_process_group()


def recorded(folder: Path) -> list[dict[str, float]]:
    """The metrics of each step, without speeds and without the number of tokens, which includes padding."""
    lines = [line["metrics"] for file in sorted((folder / "metrics").glob("*")) for line in storage.read_lines(file)]
    return [
        {n: x for n, x in line.items() if n.startswith(("train/", "valid")) and n != "train/tokens"} for line in lines
    ]


def weights(folder: Path) -> bytes:
    return (folder / "data" / "model.safetensors").read_bytes()


def ended(folder: Path, name: str) -> str:
    """The error that ended both workers. It must be the same."""
    first, second = ((folder / f"{name}-{rank}.ended").read_text() for rank in range(2))
    assert first == second
    return first


def assert_alike(found: Path, expected: Path, *, steps: int = 6) -> None:
    one, other = recorded(found), recorded(expected)
    assert len(one) == len(other) == steps
    for step, (figures, wanted) in enumerate(zip(one, other, strict=True), start=1):
        assert figures == pytest.approx(wanted, rel=2e-3, abs=2e-3), f"{found.name}, step {step}"
    models = [load_model(folder / "data").state_dict() for folder in (found, expected)]
    assert all(torch.allclose(models[0][name], models[1][name], atol=5e-3) for name in models[0])


def test_two_workers_are_as_good_as_one(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    """Of every stage, whole and sharded; the answers of a step are shared out, and a worker's may all be worthless."""
    file = tmp_path / "rewards.py"
    file.write_text(SCORES)
    scored = {"kind": "function", "file": str(file)}
    some, none = ([scored | {"name": name}] for name in ("some", "none"))
    few = ANSWERS | {"num_refills": 0}
    cases = CASES | {
        f"grpo-some-unscored-{loss_type}": Case(
            "reinforce", {"grpo": few | {"loss_type": loss_type, "beta": 0.05}, "rewards": some}
        )
        for loss_type in ("dapo", "grpo", "dr_grpo")
    }
    for name, case in cases.items():
        tune(case, f"one-{name}", tmp_path, inputs)
    jobs = [(case, f"two-{name}", {}) for name, case in cases.items()]
    on_two_workers(tmp_path, inputs, [*jobs, (Case("reinforce", {"grpo": few, "rewards": none}), "none", {})])
    for name in cases:
        assert_alike(tmp_path / f"two-{name}", tmp_path / f"one-{name}")
    assert "no answer of a batch has a reward" in ended(tmp_path, "none")


def test_a_stop_is_everybodys_and_what_was_stopped_continues(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    """On two workers to the bytes of a run without a stop; from one worker to two and back but for rounding."""
    cases = {name: CASES[name] for name in ("dpo-sharded", "grpo", "ppo-sharded")}
    jobs: list[tuple[Case, str, dict[str, Any]]] = []
    for name, case in cases.items():
        tune(case, f"one-{name}", tmp_path, inputs)
        with pytest.raises(Stopped):
            tune(case, f"changed-{name}", tmp_path, inputs, stop_at=1)
        jobs += [
            (case, f"whole-{name}", {}),
            (case, f"halves-{name}", {"stop_at": 3}),
            (case, f"halves-{name}", {"attempt": 2}),
            (case, f"changed-{name}", {"attempt": 2, "stop_at": 3}),
        ]
    on_two_workers(tmp_path, inputs, jobs)
    for name, case in cases.items():
        whole, halves = tmp_path / f"whole-{name}", tmp_path / f"halves-{name}"
        assert "stopped as asked after step 4 of 6" in ended(tmp_path, halves.name)
        assert weights(halves) == weights(whole)
        assert recorded(halves) == recorded(whole)
        tune(case, f"changed-{name}", tmp_path, inputs, attempt=3)
        assert_alike(tmp_path / f"changed-{name}", tmp_path / f"one-{name}")
