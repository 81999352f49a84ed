"""The training loop resumes exactly after any interruption, skips spikes, and handles divergence."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.train.small_language import PLAN, SAVE_EVERY_STEP, make_model

from bessemer import storage
from bessemer.errors import ArtifactDamaged, Stopped, TrainingDiverged, UsageError
from bessemer.model.config import LoraSettings
from bessemer.model.lora import add_adapters
from bessemer.train.objectives.base import Loss
from bessemer.train.objectives.causal import Causal
from bessemer.train.settings import OptimizerName


class Killed(BaseException):
    """Simulates SIGKILL. It is a BaseException, so no handler catches it."""


def recorded(folder: Path) -> dict[tuple[int, str], float]:
    """Every recorded figure except throughput, memory and energy. Fails if a figure was recorded twice."""
    found: dict[tuple[int, str], float] = {}
    for file in sorted((folder / "metrics").glob("*.jsonl")):
        for line in storage.read_lines(file):
            for name, value in line["metrics"].items():
                assert (line["step"], name) not in found
                found[line["step"], name] = value
    measured = ("throughput/", "memory/", "energy/")
    return {key: value for key, value in found.items() if not key[1].startswith(measured)}


def weights(trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_killed_run_continues_to_the_bit(trainer, tmp_path, optimizer):
    """A run that is killed and resumed twice has the figures and weights of an uninterrupted run."""
    whole = trainer("whole", optimizer=optimizer)
    outcome = whole.run()

    def kill_at(doomed):
        def on_step(step, figures):
            if step == doomed:
                raise Killed

        return on_step

    for attempt, doomed in enumerate((4, 9), start=1):
        killed = trainer(
            "killed",
            optimizer=optimizer,
            attempt=attempt,
            on_step=kill_at(doomed),
            checkpoint_interval_seconds=SAVE_EVERY_STEP,
        )
        with pytest.raises(Killed):
            killed.run()
        killed.checkpoints.wait()
        shutil.rmtree(tmp_path / "killed" / "checkpoints" / f"step-{doomed}")  # simulates a save that did not finish
    last = trainer("killed", optimizer=optimizer, attempt=3)
    assert last.run() == outcome
    assert_equal_weights(weights(last), weights(whole))
    assert recorded(tmp_path / "killed") == recorded(tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(trainer, tmp_path):
    first = trainer("run")
    outcome = first.run()
    again = trainer("run", attempt=2, on_step=lambda step, figures: pytest.fail("a step was done again"))
    assert again.run() == outcome
    assert not (tmp_path / "run" / "metrics" / "0002.jsonl").exists()


def test_a_stop_saves_and_a_stopped_run_continues(trainer, tmp_path):
    whole = trainer("whole")
    whole.run()
    asked = iter([False, False, True])
    stopped = trainer("stopped", should_stop=lambda: next(asked))
    with pytest.raises(Stopped, match="after step 3 of 12"):
        stopped.run()
    assert [path.name for path in (tmp_path / "stopped" / "checkpoints").iterdir()] == ["step-3"]
    last = trainer("stopped", attempt=2)
    last.run()
    assert_equal_weights(weights(last), weights(whole))


@pytest.mark.parametrize(("size", "lanes"), [(1, 1), (2, 1), (8, 2), (1, 3), (8, 8)])
def test_micro_batches_and_lanes_change_rounding_only(trainer, tmp_path, size, lanes):
    trainer("one").run()
    trainer("other", micro_batch_size=size, num_lanes=lanes).run()
    one, other = recorded(tmp_path / "one"), recorded(tmp_path / "other")
    assert one.keys() == other.keys()
    assert all(other[key] == pytest.approx(one[key], rel=1e-3, abs=1e-4) for key in one)


@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
def test_every_optimizer_trains_the_same_parameters_on_any_number_of_lanes(trainer, optimizer, adapted):
    """Compares parameters, because a permuted gradient has the right norm and does not change the loss of step 1."""

    def trained(lanes: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        model = make_model()
        if adapted:
            add_adapters(model, LoraSettings(r=4, lora_alpha=8), seed=0)
        run = trainer(f"lanes-{lanes}", optimizer=optimizer, num_lanes=lanes, micro_batch_size=2, model=model)
        before = weights(run)
        run.run()
        return before, weights(run)

    start, one = trained(1)
    for lanes in (2, 3):
        _, found = trained(lanes)
        for name in one:
            moved, error = (one[name] - start[name]).norm(), (found[name] - one[name]).norm()
            assert (moved > 1e-3) == ("adapters" in name or not adapted), name
            assert error <= 0.01 * moved, (lanes, name)


@pytest.mark.parametrize("lanes", [1, 2])
def test_activations_computed_again_are_the_same_to_the_bit(trainer, lanes):
    kept, again = (trainer(str(again), num_lanes=lanes, model=make_model()) for again in (False, True))
    again.model.activation_checkpointing = True
    assert kept.run() == again.run()
    assert_equal_weights(weights(kept), weights(again))


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
def test_a_run_continued_with_other_threads_is_equal_to_the_bit(trainer, optimizer):
    """A resumed run keeps the lanes and threads of its first attempt, even on a machine with other defaults."""

    def attempt(name: str, lanes: int, threads: int, number: int, **changes):
        torch.set_num_threads(threads)
        return trainer(name, optimizer=optimizer, num_lanes=lanes, attempt=number, micro_batch_size=8, **changes)

    whole = attempt("whole", 2, 2, 1)
    outcome = whole.run()
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        attempt("halves", 2, 2, 1, should_stop=asked.__next__).run()
    other = attempt("halves", 1, 1, 2)
    assert other.run() == outcome
    assert_equal_weights(weights(other), weights(whole))
    assert (torch.get_num_threads(), other.lanes.count) == (2, 2)


def test_another_number_of_threads_is_refused_and_another_micro_batch_is_logged(trainer, caplog):
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        trainer("run", should_stop=asked.__next__).run()
    with pytest.raises(UsageError, match="was made with 1 threads, but `num_threads` is 3") as caught:
        trainer("run", num_threads=3, attempt=2).run()
    assert caught.value.hint.startswith("set `num_threads` to 1 or `auto`")
    assert "micro_batch_size" not in caplog.text
    trainer("run", num_threads=1, micro_batch_size=2, attempt=3).run()
    assert "`micro_batch_size` changed from 4 to 2; the result differs in its last bits" in caplog.text


def test_lanes_end_in_any_order_and_add_up_in_theirs(trainer, tmp_path):
    """Runs are equal to the bit, regardless of the order in which lanes finish."""
    first = trainer("first", num_lanes=4, micro_batch_size=1)
    first.run()
    for attempt in range(3):
        again = trainer(f"again-{attempt}", num_lanes=4, micro_batch_size=1)
        again.run()
        assert_equal_weights(weights(again), weights(first))


def test_the_loss_falls_and_is_that_of_torch(trainer, tmp_path, store):
    """The first loss is the mean cross entropy of the first batch under the newly initialised model."""
    small = trainer("run", num_steps=40, learning_rate=0.02)
    rows = small.sampler.rows(1)
    batch = small.objective.batch(1, rows)
    logits = make_model()(batch["tokens"])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten()).item()
    small.run()
    losses = recorded(tmp_path / "run")
    assert losses[1, "train/loss"] == pytest.approx(expected, rel=1e-5)
    assert losses[40, "train/loss"] < 0.6 * losses[1, "train/loss"]
    assert losses[40, "validation/loss"] < 0.6 * losses[1, "train/loss"]


def test_losses_are_those_they_always_were(trainer, tmp_path):
    """Golden values that guard refactoring, recorded from this run. An intended change bumps the stage's version."""
    trainer("run").run()
    found = recorded(tmp_path / "run")
    figures = [found[step, "train/loss"] for step in (1, 4, 8, 12)] + [found[12, "validation/bits_per_byte"]]
    assert figures == pytest.approx([4.1333, 3.6918, 3.0524, 2.7474, 3.8761], abs=2e-3)


class Bad(Causal):
    """Multiplies the loss of step N by `spoil[N]`."""

    prefetch = False

    def __init__(self, store, spoil):
        super().__init__(store, length=PLAN.max_seq_length, seed=PLAN.seed, validation_tokens=100)
        self.spoil = spoil
        self.step = 0

    def batch(self, step, rows):
        self.step = step
        return super().batch(step, rows)

    def loss(self, model, batch):
        loss = super().loss(model, batch)
        factor = self.spoil.get(self.step, 1.0)
        return Loss(loss.sum * factor, loss.weight)


def test_the_next_batch_is_made_while_a_step_is_trained_on_and_no_other(trainer, store):
    asked = []

    class Watched(Causal):
        def batch(self, step, rows):
            asked.append((step, threading.current_thread() is threading.main_thread()))
            return super().batch(step, rows)

    objective = Watched(store, length=PLAN.max_seq_length, seed=PLAN.seed, validation_tokens=100)
    trainer("run", objective=objective, num_steps=4).run()
    assert asked == [(1, True), (2, False), (3, False), (4, False)]


def test_a_loss_that_is_no_number_stops_and_names_the_last_good_checkpoint(trainer, store, tmp_path):
    run = trainer("run", objective=Bad(store, {6: float("nan")}), checkpoint_interval_seconds=SAVE_EVERY_STEP)
    with pytest.raises(TrainingDiverged, match=r"step 6: loss nan.*checkpoints/step-5") as caught:
        run.run()
    assert "learning_rate" in caught.value.hint
    assert not (tmp_path / "run" / "checkpoints" / "step-6").exists()


def test_a_rewind_leaves_out_the_batches_since_the_last_checkpoint(trainer, store, caplog):
    """The checkpoint is from step 3, and step 6 has a NaN loss. The rewind therefore skips steps 4 to 6."""
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        trainer("run", on_divergence="rewind", should_stop=asked.__next__).run()
    seen = {}
    bad = Bad(store, {6: float("nan")})
    run = trainer("run", on_divergence="rewind", attempt=2, objective=bad)
    at_checkpoint = {}
    restore = run._restore
    run._restore = lambda: (restore(), at_checkpoint.update(weights(run)))
    run.on_step = lambda step, figures: seen.setdefault(step, weights(run))
    outcome = run.run()
    assert outcome.skipped_steps == [4, 5, 6]
    assert list(seen) == [4, 5, 7, 8, 9, 10, 11, 12]
    assert "step 6: loss nan" in caplog.text
    assert "skips steps 4 to 6" in caplog.text
    # Step 7 starts from the weights of step 3. They differ by one update, of about the size of step 4's.
    moved = max((seen[7][name] - at_checkpoint[name]).abs().max() for name in at_checkpoint)
    assert 0 < moved <= 2 * max((seen[4][name] - at_checkpoint[name]).abs().max() for name in at_checkpoint)


def test_what_diverges_again_and_again_stops(trainer, store):
    run = trainer(
        "run",
        on_divergence="rewind",
        objective=Bad(store, {step: float("nan") for step in range(4, 13)}),
        checkpoint_interval_seconds=SAVE_EVERY_STEP,
    )
    with pytest.raises(TrainingDiverged, match="step 7"):
        run.run()


def test_a_spike_is_skipped_and_its_documents_are_noted(trainer, store, caplog):
    run = trainer("run", objective=Bad(store, {4: 50.0}), should_stop=lambda: run.progress.step == 3)
    run.spikes.load_state_dict({"losses": [4.0, 4.4] * 40, "norms": [0.5, 1.5] * 40})
    before = {}
    run.on_step = lambda step, figures: before.update(weights(run))
    with pytest.raises(Stopped):
        run.run()
    assert run.progress.skipped_steps == [4]
    assert_equal_weights(before, weights(run))
    documents = run.objective.documents(run.sampler.rows(4))
    assert documents
    assert "step 4 skipped" in caplog.text
    assert all(name in caplog.text for name in documents)
    assert trainer("run", attempt=2).run().skipped_steps == [4]


def test_a_continued_run_judges_steps_by_those_before_it_was_stopped(trainer, store):
    """The spike window is filled before the stop, and the spike occurs after it."""
    asked = iter([False, False, True])
    stopped = trainer("run", should_stop=asked.__next__)
    stopped.spikes.load_state_dict({"losses": [4.0, 4.4] * 40, "norms": [0.5, 1.5] * 40})
    with pytest.raises(Stopped):
        stopped.run()
    again = trainer("run", attempt=2, objective=Bad(store, {5: 50.0}))
    seen = []
    again.on_step = lambda step, figures: seen.append(again.spikes.state_dict())
    assert again.run().skipped_steps == [5]
    assert [len(state["losses"]) for state in seen[:2]] == [84, 85]
    assert seen[0]["losses"][:-1] == stopped.spikes.state_dict()["losses"]
    assert seen[0]["norms"][:-1] == stopped.spikes.state_dict()["norms"]


def mean_gradients(run, step: int) -> dict[str, torch.Tensor]:
    """The gradients of the mean loss over the whole batch of a step, computed in one pass."""
    model = make_model()
    batch = run.objective.batch(step, run.sampler.rows(step))
    (model(batch["tokens"], targets=batch["targets"]) / batch["targets"].numel()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(("clip", "shrinks"), [(None, False), (1e9, False), (0.01, True), (1e-6, True)])
def test_the_gradient_is_that_of_the_mean_loss_and_its_norm_is_clipped(trainer, tmp_path, clip, shrinks, lanes):
    run = trainer("run", gradient_clip=clip, num_lanes=lanes, micro_batch_size=2, num_steps=1)
    taken = {}

    def keep(*_) -> None:
        taken.update({name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None})

    for optimizer in run.optimizers:
        optimizer.register_step_pre_hook(keep)
    run.run()
    expected = mean_gradients(run, 1)
    norm = torch.cat([gradient.flatten() for gradient in expected.values()]).norm().item()
    assert norm > 0.02, "both small clips must shrink the gradient"
    assert recorded(tmp_path / "run")[1, "train/grad_norm"] == pytest.approx(norm, rel=1e-4), "before clipping"
    assert taken.keys() == expected.keys()
    factor = clip / norm if shrinks else 1.0
    for name, gradient in taken.items():
        assert torch.allclose(gradient, factor * expected[name], rtol=1e-3, atol=1e-5 * factor), name


def test_a_damaged_checkpoint_is_passed_over(trainer, tmp_path, caplog):
    whole = trainer("whole")
    whole.run()
    asked = iter([False] * 5 + [True])
    with pytest.raises(Stopped):
        trainer("run", should_stop=asked.__next__, checkpoint_interval_seconds=SAVE_EVERY_STEP).run()
    (file,) = (tmp_path / "run" / "checkpoints" / "step-6").glob("*.distcp")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    steps = []
    last = trainer("run", attempt=2, on_step=lambda step, figures: steps.append(step))
    last.run()
    assert "step-6` is damaged" in caplog.text
    assert steps[0] == 6
    assert_equal_weights(weights(last), weights(whole))


def test_a_checkpoint_of_another_shape_or_plan_is_refused(trainer):
    trainer("run", num_steps=3).run()
    with pytest.raises(UsageError, match=r"`learning_rate` 0\.02, but this run has 0.5"):
        trainer("run", num_steps=3, learning_rate=0.5).run()
    other = make_model()
    other.norm = torch.nn.Parameter(torch.ones(33))
    with pytest.raises(ArtifactDamaged, match=r"model.norm.*\[32\] in the checkpoint and \[33\] in this run"):
        trainer("run", num_steps=3, model=other).run()


def test_bf16_learns_too(trainer, tmp_path):
    run = trainer("run", num_steps=30, model=make_model(torch.bfloat16))
    run.run()
    losses = recorded(tmp_path / "run")
    assert losses[30, "train/loss"] < 0.8 * losses[1, "train/loss"]
    assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())


def test_checkpoints_are_made_as_often_as_they_cost_little(trainer):
    run = trainer("run", checkpoint_interval_seconds=None)
    assert run._checkpoint_interval() == 10.0
    run.checkpoints.writing_seconds = 3.0
    assert run._checkpoint_interval() == 60.0
    assert trainer("run", checkpoint_interval_seconds=2.0)._checkpoint_interval() == 2.0
    run.run()
    assert 0 < run.checkpoints.writing_seconds < 3.0, "the last one was measured"


def test_old_checkpoints_are_pruned(trainer, tmp_path):
    trainer("run", checkpoint_interval_seconds=SAVE_EVERY_STEP).run()
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-11", "step-12"]
    manifest = json.loads((tmp_path / "run" / "checkpoints" / "step-12" / "manifest.json").read_text())
    assert manifest["facts"]["progress"]["num_tokens"] == 12 * 8 * 16


def test_validation_is_the_mean_over_every_held_out_token(trainer, store):
    """300 tokens make 19 windows of 16, the last padded. Bits per byte leave out special tokens, which have none."""
    run = trainer("run")
    tokens = torch.from_numpy(store.read("validation", 0, 300).astype(np.int64))
    nats, counted, bits, sizes = 0.0, 0, 0.0, 0
    for start in range(0, 299, 16):
        window = tokens[start : start + 17]
        losses = torch.nn.functional.cross_entropy(run.model(window[None, :-1])[0], window[1:], reduction="none")
        nats, counted = nats + losses.sum().item(), counted + len(losses)
        text = window[1:] != 0
        bits, sizes = bits + losses[text].sum().item() / np.log(2), sizes + int(text.sum())
    figures = run.validate()
    assert counted == 299
    assert figures["loss"] == pytest.approx(nats / counted, rel=1e-5)
    assert figures["bits_per_byte"] == pytest.approx(bits / sizes, rel=1e-5)
