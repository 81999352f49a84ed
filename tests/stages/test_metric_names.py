"""The declared metrics of stages that train are those that their objectives measure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bessemer.align.preferring import Pairs, Thumbs
from bessemer.align.reinforcing import Reinforcing
from bessemer.align.rewarding import Rewarding
from bessemer.stages import kinds, load
from bessemer.stages.metric_names import metric_names
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
    assert validation("align", dpo={}, max_seq_length=8) == set(Pairs.measure_names)
    assert validation("align", kto={}, max_seq_length=8) == set(Thumbs.measure_names)
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
    if kind not in ("extract", "toxicity_classifier"):
        return
    assert metric_names(kind, SimpleNamespace(), ()) is None
