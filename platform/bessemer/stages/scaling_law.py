"""scaling_law: a ladder of models in, the law by which loss falls with compute out.

    data/points.json     one model each: stage, parameters, tokens, compute, loss, and whether it was left out
    data/law.json        the law, and for each model left out: what was predicted, and the range without any one model

The largest models are left out of the fit, so that the law has to say what it was not told.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import PositiveInt

from bessemer import storage
from bessemer.errors import UsageError
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig


class Config(StageConfig):
    metric: str = "validation/bits_per_byte"
    """The loss of a model, as its training measured it at the end."""
    num_left_out: PositiveInt = 1
    """How many of the models, the largest by compute, are predicted and not fitted."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.train.scaling_law import MINIMUM_MODELS, fit, leave_one_out

    points = sorted((_point(config, kind, artifact) for kind, artifact in inputs.items()), key=lambda p: p["compute"])
    fitted, left_out = points[: -config.num_left_out], points[-config.num_left_out :]
    if len(fitted) < MINIMUM_MODELS:
        raise UsageError(
            f"{len(points)} models, {config.num_left_out} of them left out, are too few for a scaling law",
            hint=f"name at least {MINIMUM_MODELS + config.num_left_out} models of different sizes in `from`",
        )
    compute, loss = [p["compute"] for p in fitted], [p["loss"] for p in fitted]
    try:
        law = fit(compute, loss)
    except ValueError as error:
        raise UsageError(str(error), hint="let the models differ in size or in tokens") from None
    predictions = []
    for point in left_out:
        predicted = law.loss(point["compute"])
        others = leave_one_out(compute, loss, point["compute"]) if len(fitted) > MINIMUM_MODELS else [predicted]
        off = predicted / point["loss"] - 1
        predictions.append(
            {"stage": point["stage"], "predicted": predicted, "low": min(others), "high": max(others), "error": off}
        )
        context.log.info(
            "%s: predicted %.4f (%.4f to %.4f without any one model), measured %.4f: %+.2f %%",
            point["stage"], predicted, min(others), max(others), point["loss"], 100 * off,
        )  # fmt: skip
    draft.metrics["scaling_law/exponent"] = law.exponent
    draft.metrics["scaling_law/irreducible"] = law.irreducible
    draft.metrics["scaling_law/prediction_error"] = max(abs(p["error"]) for p in predictions)
    names = {p["stage"] for p in left_out}
    rows = [point | {"left_out": point["stage"] in names} for point in points]
    storage.write_json(draft.data / "points.json", rows)
    told = {"law": asdict(law), "metric": config.metric, "left_out": predictions}
    storage.write_json(draft.data / "law.json", told)


def _point(config: Config, kind: str, artifact: Any) -> dict[str, Any]:
    from bessemer.model.config import ModelConfig

    name, manifest = kind.partition("/")[2], artifact.manifest
    loss = manifest.metrics.get(config.metric)
    if loss is None or "num_tokens" not in manifest.resolved:
        known = ", ".join(f"`{name}`" for name in sorted(manifest.metrics) if name.startswith("validation/"))
        raise UsageError(
            f"`{name}` has no `{config.metric}` measured by a training",
            hint=f"set `metric` to one of {known}" if known else "name stages that train, with held-out documents",
        )
    model, resolved = ModelConfig.model_validate(manifest.resolved["model"]), manifest.resolved
    return {
        "stage": name,
        "parameters": model.num_parameters(),
        "tokens": resolved["num_tokens"],
        "compute": model.flops_per_token(resolved["max_seq_length"]) * resolved["num_tokens"],
        "loss": loss,
    }


STAGE = Stage(
    kind="scaling_law",
    version=1,
    config=Config,
    many=("model",),
    produces="scaling_law",
    run=run,
    libraries=("numpy",),
)
