"""Builds the next step's batch in a thread during the current step, so that training does not wait for data."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from bessemer.train.objectives.base import Batch, Objective
from bessemer.train.sampler import BatchSampler
from bessemer.train.workers import Workers


class Ahead:
    """Builds this worker's batches, one step ahead.

    A batch is a pure function of its step, so building it early does not change it. If the batches of an objective
    depend on the model (`prefetch` is false), each batch is built on request.
    """

    def __init__(self, objective: Objective, sampler: BatchSampler, workers: Workers) -> None:
        self._objective = objective
        self._sampler = sampler
        self._workers = workers
        self._pool = ThreadPoolExecutor(1, "batch") if objective.prefetch else None
        self._next: tuple[int, Future[Batch]] | None = None

    def batch(self, step: int, *, last: bool) -> Batch:
        """Returns the batch of `step` and starts to build the next one, unless `step` is the `last`.

        Raises the exception that building the batch raised.
        """
        made = self._next[1] if self._next and self._next[0] == step else None
        batch = made.result() if made else self._make(step)
        self._next = None
        if self._pool and not last:
            self._next = step + 1, self._pool.submit(self._make, step + 1)
        return batch

    def _make(self, step: int) -> Batch:
        rows = self._sampler.rows(step).part(self._workers.rank, self._workers.size)
        return self._objective.batch(step, rows)
