"""The training loop: exactly resumable, and independent of the objective.

    rows of step N  ->  batch  ->  micro batches: sums of loss and gradients  ->  sums over workers
    ->  divide by the global weight  ->  clip  ->  spike? skip : update

All state that passes from one step to the next is in the checkpoint. Rows, learning rate and random numbers are pure
functions of (seed, step). On a CPU, a run that was killed and resumed with the same number of workers therefore equals
an uninterrupted run to the bit. With another number of workers it sees the same rows and differs only by rounding.

Every worker makes the same decisions, because all decide from the same sums. Each step reduces its figures in one
message, which also carries worker 0's requests to stop and to save.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from bessemer.errors import Stopped, TrainingDiverged, UsageError
from bessemer.model.hardware import peak_flops
from bessemer.model.memory import BoundedMemory
from bessemer.model.transformer import Transformer
from bessemer.train.checkpoint import Checkpoint, Checkpoints
from bessemer.train.lanes import Lanes, accumulated, share_out
from bessemer.train.meter import Meter
from bessemer.train.metrics import MetricsLog
from bessemer.train.objectives.base import Batch, Measures, Objective
from bessemer.train.optimizers import build_optimizers, set_learning_rates
from bessemer.train.prefetch import Ahead
from bessemer.train.sampler import BatchSampler
from bessemer.train.schedule import Schedule
from bessemer.train.settings import TrainingPlan
from bessemer.train.sharding import gradient_norm, is_sharded, local, reshard
from bessemer.train.spikes import SpikeWindow
from bessemer.train.state import create_optimizer_state, parameter_roles, tensors
from bessemer.train.totals import Totals
from bessemer.train.workers import Workers


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """Execution settings. They may change between two attempts of a run, and change at most the last bits of its
    result.
    """

    micro_batch_size: int
    """Rows per forward and backward pass, over all lanes."""
    num_lanes: int = 1
    """Micro batches computed in parallel; see `train.lanes`."""
    num_threads: int | None = None
    """Number of CPU threads that the recipe sets. If None, a resumed run takes the number in its checkpoint, and a new
    run takes the number of the process."""
    validation_interval: int
    log_interval: int
    checkpoint_interval_seconds: float | None
    """Seconds between checkpoints. If None, derived from the time to write one; see `INTERVAL_OF_WRITING`."""


SHORTEST_INTERVAL_SECONDS, INTERVAL_OF_WRITING = 10.0, 20.0
"""The automatic interval between checkpoints is at least 10 s, and at least 20 times the time to write one."""


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of a finished run."""

    step: int
    num_tokens: int
    skipped_steps: list[int]
    validation: dict[str, float]
    """The last measurement on held-out rows, by name; empty if no rows are held out."""


MOST_REWINDS = 3
"""Maximum number of rewinds per run. If a run diverges more often, its batches are not the cause."""


@dataclass
class _Progress:
    """The counters that a checkpoint stores in addition to the tensors."""

    step: int = 0
    num_tokens: int = 0
    skipped_steps: list[int] = field(default_factory=list)
    num_rewinds: int = 0


class Trainer:
    """Trains `model` on `objective` according to `plan`, starting from the newest checkpoint if there is one.

    Trainer(model, objective, plan, execution, workers=..., checkpoints=..., metrics=...).run()
    """

    def __init__(
        self,
        model: Transformer,
        objective: Objective,
        plan: TrainingPlan,
        execution: ExecutionSettings,
        *,
        workers: Workers,
        checkpoints: Checkpoints,
        log: logging.Logger,
        metrics: MetricsLog | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        on_step: Callable[[int, Mapping[str, float]], None] = lambda step, figures: None,
    ) -> None:
        self.model = model
        self.objective = objective
        self.plan = plan
        self.execution = execution
        self.workers = workers
        self.checkpoints = checkpoints
        self.log = log
        self.metrics = metrics
        self.should_stop = should_stop
        self.on_step = on_step
        self.module = nn.ModuleDict({"model": model, "objective": objective.modules})
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.lanes = Lanes(execution.num_lanes, threads=torch.get_num_threads())
        self.optimizers = build_optimizers(
            self.module, parameter_roles(self.module), plan, model.compute_dtype, self.lanes
        )
        self.sampler = BatchSampler(objective.num_rows, plan.global_batch_size, plan.seed, objective.num_iterations)
        self.schedule = Schedule(
            plan.lr_scheduler, plan.num_steps, plan.warmup_steps, plan.decay_ratio, plan.final_learning_rate_ratio
        )
        self.spikes = SpikeWindow(plan.spike_sigmas) if plan.spike_sigmas else None
        self.progress = _Progress()
        self.meter = Meter(
            workers,
            model.config.flops_per_token(plan.max_seq_length),
            peak_flops(workers.device, model.compute_dtype),
        )
        self.ahead = Ahead(objective, self.sampler, workers)
        self.memory = BoundedMemory()

    def run(self) -> TrainingOutcome:
        """Trains to the last step.

        Raises TrainingDiverged if the loss or the gradient norm is not finite, and Stopped, after saving, if worker 0
        requested to stop.
        """
        self._restore()
        saved_at = time.monotonic()
        validation: dict[str, float] | None = None
        while self.progress.step < self.plan.num_steps:
            due = time.monotonic() - saved_at >= self._checkpoint_interval()
            try:
                figures, stopping, saving = self.step(stop=self.should_stop(), save=due)
            except TrainingDiverged as error:
                self._rewind(error)
                continue
            self.memory.step_done()
            step = self.progress.step
            last = step == self.plan.num_steps
            if last or step % self.execution.validation_interval == 0:
                validation = self.validate()
                figures |= {f"validation/{name}": value for name, value in validation.items()}
            else:
                validation = None
            if self.metrics and (last or validation is not None or step % self.execution.log_interval == 0):
                self.metrics.write(step, figures | self.meter.read())
            settled = step % self.objective.num_iterations == 0
            if last or (settled and (saving or stopping)):
                self._save()
                saved_at = time.monotonic()
            if stopping and settled and not last:
                self.checkpoints.wait()
                raise Stopped(
                    f"training stopped as asked after step {step} of {self.plan.num_steps}",
                    hint="run the same command again to continue",
                )
            self.on_step(step, figures)
        self.checkpoints.wait()
        done = self.progress
        if validation is None:
            validation = self.validate()
        return TrainingOutcome(done.step, done.num_tokens, done.skipped_steps, validation)

    def _checkpoint_interval(self) -> float:
        given = self.execution.checkpoint_interval_seconds
        return given or max(SHORTEST_INTERVAL_SECONDS, INTERVAL_OF_WRITING * self.checkpoints.writing_seconds)

    def validate(self) -> dict[str, float]:
        """The objective's figures over all held-out rows, by name. The rows are split among the workers."""
        rows, workers = self.objective.num_validation_rows, self.workers
        if not rows:
            return {}
        first, end = rows * workers.rank // workers.size, rows * (workers.rank + 1) // workers.size
        totals = Totals(workers)
        for measures in self.lanes.map(self._measure, self._cut(first, end)):
            totals.add(measures)
        # A sharded model is gathered in each pass, so every worker needs the same number of passes. Workers with fewer
        # micro batches fill up with passes of weight 0.
        for _ in range(len(self._cut(0, -(-rows // workers.size))) - len(self._cut(first, end))):
            totals.add(self._measure(slice(0, 1)), 0.0)
        reshard(self.model)
        return self.objective.figures(totals.ratios())

    def _rows_at_once(self) -> int:
        """Rows per micro batch of one lane."""
        return max(1, self.execution.micro_batch_size // self.lanes.count)

    def _cut(self, first: int, end: int) -> list[slice]:
        """Splits the rows from `first` up to `end` into micro batches for the lanes."""
        shares = share_out(end - first, self.lanes.count, self._rows_at_once())
        return [slice(first + part.start, first + part.stop) for share in shares for part in share]

    @torch.no_grad()  # set here because gradient mode is per thread
    def _measure(self, rows: slice) -> Measures:
        batch = self.objective.validation_batch(rows.start, rows.stop)
        return self.objective.measure(self.model, self._to_device(batch))

    def step(self, *, stop: bool = False, save: bool = False) -> tuple[dict[str, float], bool, bool]:
        """Runs the next step. Returns its figures, whether to stop, and whether to save.

        Every worker returns the values of `stop` and `save` that worker 0 passed.
        """
        self.meter.start()
        step = self.progress.step + 1
        # Every step sets its own seed, so no random state is saved and no step depends on previous ones.
        torch.manual_seed(_seed_of(self.plan.seed, step, self.workers.rank))
        batch = self._to_device(self.ahead.batch(step, last=step == self.plan.num_steps))
        self.meter.waited()
        totals = Totals(self.workers)
        totals.add_number("tokens", batch["tokens"].numel())
        totals.add_number("stop", stop and self.workers.rank == 0)
        totals.add_number("save", save and self.workers.rank == 0)
        for measures in self._forward_and_back(batch):
            totals.add(measures)
        totals.add({f"train/{name}": measure for name, measure in self.objective.batch_measures().items()})
        # FSDP has already summed the gradients of sharded parameters.
        self.workers.sum_gradients(p for p in self.parameters if not isinstance(p, DTensor))
        sums = totals.sums()
        figures = self._update(step, *sums["loss"])
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        num_tokens = int(sums["tokens"][0])
        self.progress.step = step
        self.progress.num_tokens += num_tokens
        self.meter.stop(num_tokens)
        figures |= {
            name: total / weight for name, (total, weight) in sums.items() if weight and name.startswith("train/")
        }
        figures["train/tokens"] = float(self.progress.num_tokens)
        return figures, sums["stop"][0] > 0, sums["save"][0] > 0

    def _forward_and_back(self, batch: Batch) -> list[Measures]:
        """Sets the parameters' gradients to those of the batch's summed loss. Returns the measures per micro batch."""
        parts = share_out(len(batch["tokens"]), self.lanes.count, self._rows_at_once())
        if len(parts) == 1:  # uses `backward`, because the parameter hooks of FSDP do not run for `autograd.grad`
            # A sharded model is gathered in each pass, so every worker needs the same number of passes. Workers with
            # fewer micro batches fill up with passes whose loss is multiplied by 0.
            most = self.workers.most(len(parts[0])) if is_sharded(self.model) else 0
            found = [self._forward(batch, part, torch.Tensor.backward) for part in parts[0]]
            for _ in range(most - len(found)):
                self._forward(batch, slice(0, 1), lambda loss: torch.autograd.backward(0.0 * loss))
            return found

        def in_lane(share: list[slice]) -> tuple[list[Tensor | None], list[Measures]]:
            gradients: list[Tensor | None] = [None] * len(self.parameters)

            def backward(loss: Tensor) -> None:
                found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
                gradients[:] = map(accumulated, self.parameters, gradients, found)

            return gradients, [self._forward(batch, part, backward) for part in share]

        results = self.lanes.map(in_lane, parts)
        for gradients, _ in results:
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = accumulated(parameter, parameter.grad, gradient)
        return [measures for _, found in results for measures in found]

    def _forward(self, batch: Batch, part: slice, backward: Callable[[Tensor], Any]) -> Measures:
        loss = self.objective.loss(self.model, {name: value[part] for name, value in batch.items()})
        backward(loss.sum)
        return {"loss": (loss.sum.detach(), loss.weight), **{f"train/{n}": m for n, m in loss.measures.items()}}

    def _update(self, step: int, loss_sum: float, weight: float) -> dict[str, float]:
        """Divides the summed gradients by the global weight, clips them, and updates the parameters.

        A spike in loss or gradient norm skips the update.
        """
        loss = loss_sum / weight
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = self.workers.from_first(gradient_norm(gradients, self.workers) / weight)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(step, loss, norm)
        rate = self.schedule.factor(step)
        if self.spikes is None or self.spikes.accepts(loss, norm):
            clip = self.plan.gradient_clip
            shrink = min(1.0, clip / norm) if clip and norm else 1.0
            torch._foreach_mul_([local(gradient) for gradient in gradients], shrink / weight)
            set_learning_rates(self.optimizers, rate)
            for optimizer in self.optimizers:
                optimizer.step()
        else:
            self.progress.skipped_steps.append(step)
            documents = self.objective.documents(self.sampler.rows(step))
            self.log.warning(
                "step %d skipped: loss %.3f, gradient norm %.3f; documents in this step: %s",
                step, loss, norm, " ".join(documents),
            )  # fmt: skip
        return {
            "train/loss": loss,
            "train/grad_norm": norm,
            "train/learning_rate": rate * self.plan.learning_rate,
            "train/skipped_steps": float(len(self.progress.skipped_steps)),
        }

    def _diverged(self, step: int, loss: float, norm: float) -> TrainingDiverged:
        self.checkpoints.wait()
        good = self.checkpoints.newest()
        kept = f"the last good checkpoint is `{good.path}`" if good else "no checkpoint exists yet"
        return TrainingDiverged(
            f"training diverged at step {step}: loss {loss:g}, gradient norm {norm:g}; {kept}",
            hint="lower `learning_rate` or set `gradient_clip`, and inspect the step's documents with `bessemer trace`",
        )

    def _rewind(self, error: TrainingDiverged) -> None:
        """Restores the newest checkpoint and skips all batches from there up to and including the one that diverged.

        The method is that of PaLM (arXiv 2204.02311, section 5.1). The skipped batches depend on the checkpoint's step.

        Raises `error` if `on_divergence` is `stop`, if no checkpoint exists, or after `MOST_REWINDS` rewinds.
        """
        rewinds, iterations = self.progress.num_rewinds + 1, self.objective.num_iterations
        failed = (self.progress.step // iterations + 1) * iterations  # the last step that uses the failed batch
        checkpoint = self.checkpoints.newest()
        if self.plan.on_divergence == "stop" or checkpoint is None or rewinds > MOST_REWINDS:
            raise error
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self._restore()
        left_out = range(self.progress.step + 1, failed + 1)
        self.log.warning(
            "%s; training resumes from it and skips steps %d to %d (list their documents with "
            "`bessemer trace RUN --step N`)",
            error.message, left_out.start, failed,
        )  # fmt: skip
        self.progress.skipped_steps += left_out
        self.progress.step, self.progress.num_rewinds = failed, rewinds

    def _to_device(self, batch: Batch) -> Batch:
        return {name: value.to(self.workers.device, non_blocking=True) for name, value in batch.items()}

    def _save(self) -> None:
        facts = {
            "plan": self._settled(),
            "progress": asdict(self.progress),  # a copy, because training continues while it is written
            "spikes": self.spikes.state_dict() if self.spikes else None,
            "objective": self.objective.state_dict(),
            "num_workers": self.workers.size,
            "micro_batch_size": self.execution.micro_batch_size,
            "num_threads": self.workers.each(torch.get_num_threads()),
            "num_lanes": self.workers.each(self.lanes.count),
        }
        began = time.perf_counter()
        self.checkpoints.save(self.progress.step, tensors(self.module, self.optimizers), facts)
        self.meter.saved(time.perf_counter() - began)

    def _restore(self) -> None:
        checkpoint = self.checkpoints.newest()
        if checkpoint is None:
            return
        checkpoint.check_plan(self._settled())
        if checkpoint.facts["num_workers"] == self.workers.size:  # with another number, rounding differs anyway
            self._restore_threads(checkpoint)
        create_optimizer_state(self.module, self.optimizers, checkpoint)
        checkpoint.load(tensors(self.module, self.optimizers))
        self.progress = _Progress(**checkpoint.facts["progress"])
        if self.spikes:
            self.spikes.load_state_dict(checkpoint.facts["spikes"])
        self.objective.load_state_dict(checkpoint.facts["objective"])
        self.log.info("training continues after step %d of %d", checkpoint.step, self.plan.num_steps)

    def _restore_threads(self, checkpoint: Checkpoint) -> None:
        """Sets the numbers of lanes and threads to those of the checkpoint.

        With other numbers, the last bits of sums would differ.

        Raises UsageError if the recipe sets another number of threads.
        """
        facts, wanted, here = checkpoint.facts, self.execution.num_threads, torch.get_num_threads()
        was, now = facts["micro_batch_size"], self.execution.micro_batch_size
        if was != now:
            self.log.warning("`micro_batch_size` changed from %d to %d; the result differs in its last bits", was, now)
        if self.workers.device.type != "cpu":
            return
        threads, lanes = (facts[name][self.workers.rank] for name in ("num_threads", "num_lanes"))
        if wanted is not None and wanted != threads:
            raise UsageError(
                f"checkpoint `{checkpoint.path}` was made with {threads} threads, but `num_threads` is {wanted}",
                hint=f"set `num_threads` to {threads} or `auto`, or remove the folder `checkpoints` to start again",
            )
        if (threads, lanes) != (here, self.lanes.count):
            self.log.info("training continues with %d threads, as in the checkpoint, instead of %d", threads, here)
            torch.set_num_threads(threads)
            self.lanes.resize(lanes, threads=threads)

    def _settled(self) -> dict[str, Any]:
        return self.plan.to_json() | {"dtype": str(self.model.compute_dtype).removeprefix("torch.")}


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
