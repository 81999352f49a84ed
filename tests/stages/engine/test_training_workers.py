"""Training processes on Ray: one that dies is replaced, and an error comes back as it was raised."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import InputError
from bessemer.stages.engine import training_workers
from bessemer.stages.engine.training_workers import WorkerContext, run_on_workers
from bessemer.train.checkpoint import newest_step


def task(folder: Path, worker: WorkerContext) -> str:
    """Worker 1 dies in the first group and raises in the second, while worker 0 waits for it."""
    import torch.distributed as dist

    assert dist.get_world_size() == 2
    (folder / f"begun-{dist.get_rank()}-{os.getpid()}").touch()
    if dist.get_rank() == 1:
        if len(list(folder.glob("begun-1-*"))) == 1:
            os._exit(7)
        raise InputError("a problem of worker 1", hint="mend it")
    dist.barrier()
    return "never"


def test_a_controller_that_leaves_has_written_what_it_said() -> None:
    text = (
        "import atexit, logging, sys\nfrom logging.handlers import MemoryHandler\n"
        "from bessemer.stages.engine.ray_controller import leave\n"
        "atexit.register(leave)\n"
        "logging.root.addHandler(MemoryHandler(9, target=logging.StreamHandler(sys.stdout)))\n"
        "logging.warning('logged')\nsys.stdout.write('said')\n"
    )
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert ended.stdout == "saidlogged\n"


def test_a_death_while_the_workers_start_is_forgiven_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    """Ray Train takes it for an error of its controller and gives up."""
    from ray.exceptions import ActorDiedError
    from ray.train.v2.api.exceptions import ControllerError

    calls: list[Exception] = []

    def failing(times: int, failure: Exception) -> Any:
        def fit() -> str:
            if len(calls) < times:
                calls.append(failure)
                raise ControllerError(failure)
            return "trained"

        return fit

    log = logging.getLogger("test")
    assert (
        training_workers._forgiving(failing(training_workers.DEATHS_FORGIVEN, ActorDiedError()), log, lambda: 0)
        == "trained"
    )
    assert len(calls) == caplog.text.count("starting the workers again") == training_workers.DEATHS_FORGIVEN
    calls.clear()
    with pytest.raises(ControllerError):
        training_workers._forgiving(failing(100, ActorDiedError()), log, lambda: 0)
    assert len(calls) == training_workers.DEATHS_FORGIVEN + 1
    calls.clear()
    with pytest.raises(ControllerError):
        training_workers._forgiving(failing(100, ValueError("a defect")), log, lambda: 0)
    assert len(calls) == 1


def test_deaths_count_in_a_row_only(caplog: pytest.LogCaptureFixture) -> None:
    """Ray Train counts all deaths of a training; those after which a checkpoint was made do not count here."""
    from ray.exceptions import ActorDiedError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
    from ray.train.v2.api.exceptions import WorkerGroupError

    def dying(steps: list[int], failure: Exception) -> Any:
        """Each time it dies the newest checkpoint is that of the next of `steps`."""
        left = list(steps)

        def fit() -> str:
            if not left:
                return "trained"
            saved[0] = left.pop(0)
            wrapped = WorkerHealthCheckFailedError("no answer", failure)
            raise WorkerGroupError("died", {0: RuntimeError("a peer is gone"), 1: wrapped})

        return fit

    log, saved = logging.getLogger("test"), [0]
    fit = dying([10, 20, 30, 40, 50, 60], ActorDiedError())
    assert training_workers._forgiving(fit, log, lambda: saved[0]) == "trained"
    assert caplog.text.count("made progress") == 6
    with pytest.raises(WorkerGroupError):
        training_workers._forgiving(dying([70, 70], ActorDiedError()), log, lambda: saved[0])
    with pytest.raises(WorkerGroupError):
        training_workers._forgiving(dying([80], ValueError("a defect")), log, lambda: saved[0])


def dying(folder: Path, deaths: int, worker: WorkerContext) -> str:
    """Completes one more step per call, and dies in the first `deaths` calls."""
    done = len(list(folder.glob("step-*")))
    (folder / f"step-{done + 1}").mkdir()
    if done < deaths:
        os._exit(7)
    return "trained"


@pytest.mark.drill
def test_more_deaths_than_ray_forgives_are_forgiven_while_the_task_gets_further(
    ray_session: Any, make_context: Callable[..., Any], make_artifact: Callable[..., Any], tmp_path: Path
) -> None:
    ray_session.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    draft, _ = make_artifact("model")
    context = make_context(num_workers=1, start_ray=lambda: ray_session)
    deaths = training_workers.DEATHS_FORGIVEN + 2
    found = run_on_workers(
        partial(dying, tmp_path, deaths),
        context,
        draft,
        num_workers=1,
        num_threads=None,
        on_step=lambda step, figures: None,
        saved=partial(newest_step, tmp_path),
    )
    assert found == "trained"
    assert newest_step(tmp_path) == deaths + 1


@pytest.mark.drill
def test_a_death_is_forgiven_and_an_error_is_not(
    ray_session: Any, make_context: Callable[..., Any], make_artifact: Callable[..., Any], tmp_path: Path
) -> None:
    ray_session.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    draft, _ = make_artifact("model")
    context = make_context(num_workers=2, start_ray=lambda: ray_session)
    with pytest.raises(InputError, match="a problem of worker 1") as caught:
        run_on_workers(
            partial(task, tmp_path), context, draft, num_workers=2, num_threads=None, on_step=lambda step, figures: None
        )
    assert caught.value.hint == "mend it"
    assert len(list(tmp_path.glob("begun-1-*"))) == 2
