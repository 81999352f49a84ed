"""scaling_law: from trained models, a law and its prediction for the largest model; and the report that draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bessemer import storage
from bessemer.artifacts.store import Artifact
from bessemer.errors import UsageError
from bessemer.model.config import ModelShape
from bessemer.report.scaling import draw, read_laws
from bessemer.stages import scaling_law

WIDTHS = (64, 128, 256, 512, 1024)


@pytest.fixture
def ladder(make_artifact: Callable[..., Any]) -> dict[str, Artifact]:
    """Models whose losses follow L(C) = 0.8 + 20 C^-0.1, the largest of them named first."""
    found = {}
    for width in reversed(WIDTHS):
        shape = ModelShape(hidden_size=width).resolve(vocab_size=512, max_seq_length=64)
        draft, seal = make_artifact("model", f"width_{width}")
        tokens = 10 * shape.num_parameters()
        compute = shape.flops_per_token(64) * tokens
        draft.metrics["validation/bits_per_byte"] = 0.8 + 20 * compute**-0.1
        draft.resolved |= {"model": shape.model_dump(mode="json"), "num_tokens": tokens, "max_seq_length": 64}
        found[f"model/width_{width}"] = seal()
    return found


def test_the_largest_is_foretold_and_drawn(ladder: Any, make_artifact: Any, make_context: Any) -> None:
    draft, _ = make_artifact("scaling_law")
    scaling_law.run(scaling_law.Config(), ladder, draft, make_context())
    assert draft.metrics["scaling_law/exponent"] == pytest.approx(0.1, rel=1e-2)
    assert draft.metrics["scaling_law/prediction_error"] < 1e-3
    points = storage.read_json(draft.data / "points.json")
    assert [p["stage"] for p in points] == [f"width_{width}" for width in WIDTHS]
    assert [p["left_out"] for p in points] == [False] * 4 + [True]
    (fitted,) = read_laws(draft.data)
    drawn = str(draw(fitted))
    assert "width_1024 was left out of the fit" in drawn
    assert drawn.count('class="dot s1"') == 4
    assert drawn.count('class="ring"') == 1


def test_too_few_or_unlike_models_are_refused(ladder: Any, make_artifact: Any, make_context: Any) -> None:
    seal = make_artifact("model", "untrained")[1]
    three = {name: ladder[name] for name in list(ladder)[:3]}
    for inputs, settings, message in (
        (three, {}, "at least 3 fitted models, got 2"),
        (ladder, {"num_left_out": 3}, "3 of 5 are left out"),
        (ladder, {"metric": "validation/accuracy"}, "has no training metric `validation/accuracy`"),
        (ladder | {"model/untrained": seal()}, {}, "`untrained` has no"),
    ):
        config, draft = scaling_law.Config.model_validate(settings), make_artifact("scaling_law")[0]
        with pytest.raises(UsageError, match=message) as caught:
            scaling_law.run(config, inputs, draft, make_context())
        assert caught.value.hint
