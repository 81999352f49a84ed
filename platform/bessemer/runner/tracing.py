"""Finds the stage of a run that trained on tokens, and the order of its tokens, for `bessemer trace`."""

from __future__ import annotations

from bessemer import storage
from bessemer.errors import UsageError
from bessemer.runner.runs import Run
from bessemer.tokens.store import TokenStore
from bessemer.train.trace import Trace


def trace(run: Run, stage: str | None) -> Trace:
    """The order in which `stage` read its tokens. None selects the only stage that trains on tokens.

    Raises UsageError if the run has no such stage, if it has several, or if the stage has not started.
    """
    training = {
        planned["name"]: planned["inputs"]["tokens"]
        for planned in run.plan()["stages"]
        if planned["produces"] == "model" and "tokens" in planned["inputs"]
    }
    if stage is None and len(training) == 1:
        stage = next(iter(training))
    if not training:
        raise UsageError(f"`{run.name}` has no stage that trains on tokens", hint=f"bessemer status {run.name}")
    if stage is None or stage not in training:
        names = ", ".join(f"`{name}`" for name in training) or "none"
        raise UsageError(
            f"`{run.name}` has no stage `{stage}` that trains on tokens"
            if stage
            else f"`{run.name}` has {len(training)} stages that train on tokens",
            hint=f"name one with `--stage`: {names}",
        )
    folder = run.artifact_folder(stage)
    plan = (storage.read_json(folder / "manifest.json") or {}).get("resolved")
    plan = plan or storage.read_json(folder / "work" / "plan.json")
    if not plan:
        raise UsageError(f"`{stage}` of `{run.name}` has not started", hint=f"bessemer status {run.name}")
    return Trace.of(TokenStore.open(run.artifact_folder(training[stage])), plan)
