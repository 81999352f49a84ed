"""Checks that the inputs of a stage stay the same while it reads them.

A fingerprint is computed from the content that the plan found. If an input changes before the stage reads it, the
result must not be stored under that fingerprint. So the runner checks the inputs before and after the stage reads them:

- Input artifacts: before, the hashes of all files; after, the manifest and the state (size and times) of each file.
- Outside files, which are not artifacts: their description, as in the plan, and the state of each hashed file.

If the workers of a stage compare the outside files themselves (`Stage.verifies_reads`), the second check omits them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bessemer import hashes
from bessemer.artifacts.manifest import Manifest
from bessemer.artifacts.store import Artifact
from bessemer.errors import ArtifactDamaged, BessemerError, InputChanged
from bessemer.fingerprint import fingerprint
from bessemer.runner.plan import PlannedStage
from bessemer.stages.base import Inputs, Stage

AGAIN = "run the same command again"


class InputCheck:
    """The checks of one stage. Raises InputChanged if the outside files are not those of the plan."""

    def __init__(self, planned: PlannedStage, stage: Stage, config: Any, inputs: Inputs) -> None:
        self._planned, self._stage, self._config, self._inputs = planned, stage, config, inputs
        self._artifact_states = {kind: _states(artifact) for kind, artifact in inputs.items()}
        with hashes.recorded() as self._outside_states:
            self.check_outside()

    @property
    def outside_states(self) -> str | None:
        """A fingerprint of the states of the outside files; None if unfinished work does not depend on them."""
        if self._stage.verifies_reads or not self._outside_states:
            return None
        return fingerprint(sorted((str(path), state) for path, state in self._outside_states.items()))

    def check_outside(self) -> None:
        """Raises InputChanged if the outside files are not those of the plan."""
        found = self._stage.outside(self._config) if self._stage.outside else None
        if (None if found is None else fingerprint(found)) != self._planned.identity["outside"]:
            raise InputChanged(f"files that `{self._planned.name}` reads changed after the plan was made", hint=AGAIN)

    def verify(self) -> None:
        """Reads the input artifacts. Raises ArtifactDamaged if their hashes are not those of their manifests."""
        for artifact in self._inputs.values():
            artifact.verify(hashes=True)

    def check(self) -> None:
        """The second check. Raises InputChanged if the stage may have read other content than the first check found."""
        name = self._planned.name
        for kind, artifact in self._inputs.items():
            source = self._planned.inputs[kind]
            if _digest(artifact) != artifact.manifest.digest or hashes.changed(self._artifact_states[kind]):
                raise InputChanged(f"the artifact of `{source}` changed while `{name}` read it", hint=AGAIN)
        if not self._stage.verifies_reads:
            if path := hashes.changed(self._outside_states):
                raise InputChanged(f"`{path}` changed while `{name}` read it", hint=AGAIN)
            self.check_outside()

    def explain(self, error: BaseException) -> BaseException:
        """The cause of an unexpected error: InputChanged if an input changed, else the error itself."""
        if isinstance(error, Exception) and not isinstance(error, BessemerError):
            try:
                self.check()
            except InputChanged as changed:
                return changed
        return error


def _states(artifact: Artifact) -> dict[Path, str]:
    """The state of each file of an artifact; `verify` reports files that are missing."""
    paths = [artifact.path / file.path for file in artifact.manifest.files]
    return {path: hashes.state(path.stat()) for path in paths if path.exists()}


def _digest(artifact: Artifact) -> str | None:
    try:
        manifest = Manifest.read(artifact.path)
    except ArtifactDamaged:
        return None
    return manifest.digest if manifest else None
