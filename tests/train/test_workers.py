"""Two processes train like one process, even if the rows of a batch do not divide evenly."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from tests.train.small_language import make_model, make_trainer
from tests.train.test_loop import recorded

from bessemer.errors import Stopped
from bessemer.tokens.store import TokenStore
from bessemer.train.objectives.causal import Causal
from bessemer.train.sharding import shard, whole
from bessemer.train.workers import Workers


class Unequal(Causal):
    """Weighs the targets unequally, so that the parts of a batch have unequal weights."""

    def loss(self, model, batch):
        loss = super().loss(model, {**batch, "targets": batch["targets"].masked_fill(batch["tokens"] % 3 == 0, -100)})
        loss.weight.copy_((batch["tokens"] % 3 != 0).sum())
        return loss


def train(rank: int, size: int, folder: Path, steps: int, rows: int, sharded: bool = False) -> None:
    """Trains up to step `steps`, then saves the weights and a validation result on a single row."""
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=size)
    store = TokenStore.open(folder / "tokens")
    model = make_model()
    workers = Workers.of_process_group(torch.device("cpu"))
    if sharded:
        shard(model, workers)
    trainer = make_trainer(
        store,
        folder / "run",
        model=model,
        attempt=steps,
        objective=Unequal(store, length=16, seed=0, validation_tokens=10**6),
        workers=workers,
        global_batch_size=rows,
        micro_batch_size=2,
        should_stop=lambda: trainer.progress.step == steps - 1,
    )
    with contextlib.nullcontext() if steps == trainer.plan.num_steps else pytest.raises(Stopped):
        trainer.run()
    trainer.objective = Unequal(store, length=16, seed=0, validation_tokens=1)
    left = {n: whole(p.detach()) for n, p in trainer.model.named_parameters()} | {"validation": trainer.validate()}
    torch.save(left, folder / f"left-{rank}-{steps}.pt")
    if size > 1:
        dist.destroy_process_group()


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("rows", [8, 9], ids=["even", "uneven"])
def test_one_to_two_to_one_workers_is_the_curve_of_one(store: TokenStore, tmp_path: Path, rows: int, sharded: bool):
    """A run that is resumed on another number of workers sees the same rows and has the same figures up to rounding."""
    one, changed = tmp_path / "one", tmp_path / "changed"
    for folder in (one, changed):
        folder.mkdir()
        (folder / "tokens").symlink_to(store.folder)
    train(0, 1, one, 12, rows)
    train(0, 1, changed, 4, rows)
    torch.multiprocessing.spawn(train, (2, changed, 10, rows, sharded), nprocs=2)
    train(0, 1, changed, 12, rows)
    expected, found = recorded(one / "run"), recorded(changed / "run")
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-3) for key in expected)
    first, second = (torch.load(changed / f"left-{rank}-10.pt") for rank in range(2))
    figures = [left.pop("validation") for left in (first, second)]
    assert figures[0] == figures[1]
    assert figures[0]["loss"] > 0
    assert all(torch.equal(first[name], second[name]) for name in first)
