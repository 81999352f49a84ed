"""Training processes on Ray: one that dies is replaced, and an error comes back as it was raised."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import InputError
from bessemer.stages.workers import Seat, run_on_workers


def task(folder: Path, seat: Seat) -> str:
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


@pytest.mark.drill
def test_a_death_is_forgiven_and_an_error_is_not(
    ray_session: Any, make_context: Callable[..., Any], make_artifact: Callable[..., Any], tmp_path: Path
) -> None:
    ray_session.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    draft, _ = make_artifact("model")
    context = make_context(num_workers=2, start_ray=lambda: ray_session)
    with pytest.raises(InputError, match="a problem of worker 1") as caught:
        run_on_workers(
            partial(task, tmp_path), context, draft, num_workers=2, num_threads=None, on_step=lambda step: None
        )
    assert caught.value.hint == "mend it"
    assert len(list(tmp_path.glob("begun-1-*"))) == 2
