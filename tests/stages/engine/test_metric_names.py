"""The declared metrics are those that the code of the stages, the trainer and the objectives records."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bessemer.align.policy_objective import Reinforcing
from bessemer.align.preference_objectives import KtoObjective, PairObjective
from bessemer.align.reward_model_objective import Rewarding
from bessemer.stages import kinds, load
from bessemer.stages.engine.metric_names import (
    CRITIC,
    DATA,
    HELD_OUT,
    MEASURES,
    PAIRS,
    ROLLOUTS,
    TRAINING,
    metric_names,
)
from bessemer.train.objectives.causal import Causal
from bessemer.train.objectives.infill import Infill
from bessemer.train.objectives.masked import Masked
from bessemer.train.objectives.supervised import Supervised


def validation(kind: str, **settings: Any) -> set[str]:
    config = load(kind).config.model_validate(settings)
    names = metric_names(kind, config, ("model/base", "tokens"))
    assert names is not None
    return {name.removeprefix("validation/") for name in names if name.startswith("validation/")}


def test_held_out_metrics_are_those_of_the_objective() -> None:
    assert validation("pretrain") == set(Causal.measure_names)
    assert validation("pretrain", objective="masked") == {*Masked.measure_names, "pseudo_perplexity"}
    assert validation("pretrain", objective="fill_in_the_middle") == set(Infill.measure_names)
    assert validation("finetune", max_seq_length=8) == set(Supervised.measure_names)
    assert validation("align", dpo={}, max_seq_length=8) == set(PairObjective.measure_names)
    assert validation("align", kto={}, max_seq_length=8) == set(KtoObjective.measure_names)
    assert validation("reward", max_seq_length=8) == set(Rewarding.measure_names)
    assert validation("reinforce", grpo={}, max_seq_length=8) == set(Reinforcing.measure_names)


def test_an_evaluation_names_its_tasks_and_models() -> None:
    config = load("evaluate").config.model_validate({})
    names = metric_names("evaluate", config, ("model/base", "model/tuned", "tokens"))
    assert names is not None
    assert {"evaluate/held_out/bits_per_byte", "evaluate/base/held_out/bits_per_byte"} <= set(names)


@pytest.mark.parametrize("kind", kinds())
def test_an_unknown_kind_is_not_guessed_at(kind: str) -> None:
    """A stage that declares nothing is not refused as the source of a metric."""
    if kind != "toxicity_classifier":
        return
    assert metric_names(kind, SimpleNamespace(), ()) is None


PACKAGE = Path(__file__).parents[3] / "platform" / "bessemer"


def parsed(*names: str) -> Iterator[ast.AST]:
    """Every node of the package's files."""
    for name in names:
        yield from ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8")))


def pattern(node: ast.expr | None) -> str | None:
    """A key as a regular expression, with `.+` for a value that is only known at run time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values)
    return None


def keys(node: ast.expr) -> list[ast.expr | None]:
    return node.keys if isinstance(node, ast.Dict) else [node.key] if isinstance(node, ast.DictComp) else []


def assigned(nodes: Iterable[ast.AST], name: str) -> Iterator[str]:
    """The keys that code assigns in a dictionary called `name`: one by one, or several with `|=`."""
    for node in nodes:
        if not isinstance(node, ast.Assign | ast.AugAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            owner = target.value if isinstance(target, ast.Subscript) else target
            called = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if called == name:
                found = [target.slice] if isinstance(target, ast.Subscript) else keys(node.value)
                yield from filter(None, map(pattern, found))


def helpers(kind: str) -> set[str]:
    """The files of a stage: its own, and those of `stages/` that it imports."""
    found: set[str] = set()
    waiting = [f"stages/{kind}"]
    while waiting:
        name = waiting.pop()
        if name in found or not (PACKAGE / f"{name}.py").exists():
            continue
        found.add(name)
        for node in parsed(f"{name}.py"):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("bessemer.stages"):
                continue
            imported = [alias.name for alias in node.names]
            if imported != ["verdict_table"]:  # a function of `row_files.py` that records no metric
                module = str(node.module).removeprefix("bessemer.").replace(".", "/")
                waiting += [module, *(f"{module}/{name}" for name in imported)]
    return {f"{name}.py" for name in found - {"stages/base"}}


@pytest.mark.parametrize("kind", DATA)
def test_every_metric_of_a_data_stage_is_declared(kind: str) -> None:
    own = {f"stages/{kind}.py"}
    files = helpers(kind) - {f"stages/{other}.py" for other in kinds()} | own | ({"stages/ingest.py"} & helpers(kind))
    recorded = set(assigned(parsed(*files), "metrics"))
    assert recorded, "no metric was found; does the stage record them in another way?"
    for name in recorded:
        assert any(re.fullmatch(name, declared) for declared in DATA[kind]), f"`{kind}` records `{name}`"
    for declared in DATA[kind]:
        assert any(re.fullmatch(name, declared) for name in recorded), f"`{kind}` does not record `{declared}`"


def test_every_metric_of_the_trainer_is_declared() -> None:
    prefix = re.compile(r"(train|throughput|memory|energy)/\w+")
    recorded = set()
    for node in parsed("train/loop.py", "train/meter.py", "stages/engine/training.py"):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and prefix.fullmatch(node.value):
            recorded.add(node.value)
    measures = {f"train/{name}" for name in MEASURES} - TRAINING.keys()  # of objectives; the progress shows some
    assert recorded - measures == TRAINING.keys()


def test_every_measure_of_an_objective_is_declared() -> None:
    """A measure is a pair of a sum and its weight in a dictionary."""
    names = [
        *(
            f"align/{name}.py"
            for name in (
                "policy_losses",
                "preference_losses",
                "answer_groups",
                "policy_objective",
                "preference_objectives",
                "reward_model_objective",
            )
        )
    ]
    names += [f"train/objectives/{path.name}" for path in (PACKAGE / "train" / "objectives").glob("*.py")]
    recorded = {name for name in assigned(parsed(*names), "measures") if ".+" not in name}
    for node in parsed(*names):
        if isinstance(node, ast.Dict):
            measured = (key for key, value in zip(node.keys, node.values, strict=True) if isinstance(value, ast.Tuple))
            recorded |= {str(key.value) for key in measured if isinstance(key, ast.Constant)}
    held_out = {name for group in HELD_OUT.values() for name in group}
    declared = {*PAIRS, *ROLLOUTS, *CRITIC, *held_out}
    assert recorded - declared == set()
    assert declared == MEASURES.keys(), "every measure has a description"
    assert {"kl", "clip_ratio", "value_loss", "rewards_margins"} <= recorded
