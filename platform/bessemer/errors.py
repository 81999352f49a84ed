"""All errors for users. Each describes the problem in one sentence and gives a fix.

BessemerError                 exit code 1
├── RecipeError               2   one or more problems in a recipe
├── UsageError                2   a command that cannot be carried out as given
├── ClusterUnreachable        3   no Ray cluster at the address
├── TrackingUnreachable       3   no MLflow server at the URI
├── RayDied                   1   a system process of the run's own Ray died
├── InputError                1   input from outside that no stage can work with
│   ├── NotFinite             1   a model whose predictions are NaN or infinite
│   └── InputChanged          1   files that changed while a stage read them
├── ArtifactDamaged           1   files no longer match their manifest
├── CountMismatch             1   in + created != out + removed
├── LeaseLost                 1   another process took over what this one was writing
├── StorageError              1   no space, no permission, a path that is not there
├── TrainingDiverged          1   a loss that is not a number
├── StageFailed               1   a defect: an error that no other class covers
├── NothingLeft               1   a stage that leaves no output for the next one
├── RequirementNotMet         1   a score that does not meet `require` of an evaluation
└── Stopped                 130   asked to stop; everything done so far is kept
"""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.credentials import redact


class BessemerError(Exception):
    """A mistake or a condition outside the program. `hint` names the command or setting that fixes it.

    Passwords in URLs are masked in both, since an error is printed, logged and stored.
    """

    exit_code = 1
    may_pass = False
    """Whether the same command can succeed later with the same recipe and input, because the cause is outside them."""

    abrupt = False
    """Whether the process must end at once after this error, because Ray cannot be left in good order."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(redact(message))
        self.message = redact(message)
        self.hint = redact(hint)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message


def _rebuild(kind: type[BessemerError], message: str, hint: str) -> BessemerError:
    return kind(message, hint=hint)


def to_json(error: BessemerError) -> dict[str, str]:
    """The error as JSON, for another process to raise."""
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def from_json(found: Mapping[str, str]) -> BessemerError:
    """The error that `to_json` wrote; a kind that is not defined here becomes a BessemerError."""
    kind = globals().get(found["kind"])
    if not (isinstance(kind, type) and issubclass(kind, BessemerError)):
        kind = BessemerError
    return _rebuild(kind, found["message"], found["hint"])


class RecipeError(BessemerError):
    exit_code = 2
    problems: tuple[object, ...] = ()
    """The problems that the message lists."""


class UsageError(BessemerError):
    exit_code = 2


class ClusterUnreachable(BessemerError):
    exit_code = 3
    may_pass = True


class RayDied(BessemerError):
    may_pass = True
    abrupt = True


class TrackingUnreachable(BessemerError):
    exit_code = 3
    may_pass = True


class InputError(BessemerError):
    pass


class NotFinite(InputError):
    pass


class InputChanged(InputError):
    may_pass = True


class ArtifactDamaged(BessemerError):
    pass


class CountMismatch(BessemerError):
    pass


class LeaseLost(BessemerError):
    may_pass = True


class StorageError(BessemerError):
    may_pass = True


class TrainingDiverged(BessemerError):
    pass


class StageFailed(BessemerError):
    pass


class NothingLeft(BessemerError):
    pass


class RequirementNotMet(BessemerError):
    pass


class Stopped(BessemerError):
    exit_code = 130
    may_pass = True
