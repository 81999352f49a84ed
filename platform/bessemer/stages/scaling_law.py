"""scaling_law: fits the scaling law of loss against compute to models of different sizes.

    data/points.json     per model: stage, parameters, tokens, compute, loss, and whether it was left out of the fit
    data/law.json        the law; per left-out model, the predicted loss and its range over leave-one-out fits

The largest models are left out of the fit. Their measured losses show how well the law extrapolates.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import PositiveInt

from bessemer import storage
from bessemer.errors import UsageError
from bessemer.recipe.inputs import Input, by_stage
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig


class Config(StageConfig):
    metric: str = "validation/bits_per_byte"
    """Name of the final training metric that is the loss of a model."""
    num_left_out: PositiveInt = 1
    """Number of models, the largest by compute, that the law predicts instead of fitting."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.train.scaling_law import MINIMUM_MODELS, fit, leave_one_out

    points = sorted(
        (_point(config, name, artifact) for name, artifact in by_stage(inputs, "model").items()),
        key=lambda p: p["compute"],
    )
    fitted, left_out = points[: -config.num_left_out], points[-config.num_left_out :]
    if len(fitted) < MINIMUM_MODELS:
        raise UsageError(
            f"a scaling law needs at least {MINIMUM_MODELS} fitted models, got {len(fitted)} ({config.num_left_out} "
            f"of {len(points)} are left out)",
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
            "%s: predicted %.4f (%.4f to %.4f if one model is left out of the fit), measured %.4f: %+.2f %%",
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


def _point(config: Config, name: str, artifact: Any) -> dict[str, Any]:
    from bessemer.model.config import ModelConfig

    manifest = artifact.manifest
    loss = manifest.metrics.get(config.metric)
    if loss is None or "num_tokens" not in manifest.resolved:
        known = ", ".join(f"`{name}`" for name in sorted(manifest.metrics) if name.startswith("validation/"))
        raise UsageError(
            f"`{name}` has no training metric `{config.metric}`",
            hint=f"set `metric` to one of {known}"
            if known
            else "name in `from` stages that train and validate a model",
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
    version=2,
    config=Config,
    inputs=(Input("model", explicit=True, many=True),),
    produces="scaling_law",
    run=run,
    libraries=("numpy", "scipy"),
)
