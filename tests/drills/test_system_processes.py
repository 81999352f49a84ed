"""If a Ray system process or the driver is killed, the run reports it within seconds and leaves no processes.

A small recipe trains on Ray, then runs reinforcement learning with answers from Ray actors, then a sweep. The raylet,
the GCS and the driver are killed with SIGKILL, and signals are sent while Ray starts. Each time, all processes must end
within `GONE_SECONDS`. In the end, the same command must make the same models as an uninterrupted run. `gc` runs during
a sweep and must not delete an artifact of a trial. Run by `make drill`; prints each event with its time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.drills.struck_run import Runner, check_gone, kill_at_checkpoint, wait_for, wait_until_gone

from bessemer import storage
from bessemer.artifacts.store import Store
from bessemer.runner import runs
from bessemer.runner.exposure import listeners

pytestmark = pytest.mark.drill

NAMES = {"raylet": "raylet", "gcs_server": "GCS"}
MODEL = "{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 64}"
TUNING = "max_seq_length: 64, global_batch_size: 8, dtype: float32, num_threads: 1, checkpoint_interval_seconds: 0.2"
REWARDS = "[{kind: exact_match, column: liked}, {kind: length, target: 5, weight: 0.1}]"
DATA = """
name: struck
seed: 1
num_workers: 0
stages:
  ingest: {paths: [texts.jsonl], split: {validation: 0.3, test: 0}}
  tokenizer: {vocab_size: 512}
  tokenize:
"""
TRAINED = f"""
  pretrain: {{model: {MODEL}, {TUNING}, max_steps: 150, num_workers: 1}}
"""
REINFORCED = f"""
  pretrain: {{model: {MODEL}, {TUNING}, max_steps: 20}}
  conversations: {{paths: [conversations.jsonl], split: {{validation: 0.2}}}}
  finetune: {{{TUNING}, max_steps: 20, learning_rate: 0.003}}
  grpo: {{stage: reinforce, from: [finetune, conversations], {TUNING}, optimizer: adamw, max_steps: 24,
    rewards: {REWARDS}, grpo: {{num_generations: 4, max_completion_length: 8}}, rollout_workers: 2, num_workers: 1}}
"""
SWEPT = f"""
  pretrain: {{model: {MODEL}, {TUNING}, max_steps: 120}}
sweep:
  metric: validation/loss
  max_concurrent_trials: 2
  scheduler: null
  param_space: {{pretrain.learning_rate: {{grid: [0.001, 0.01, 0.02]}}}}
"""
RECIPES = {"train": DATA + TRAINED, "reinforce": DATA + REINFORCED, "sweep": DATA + SWEPT}
STRUCK = {"train": "pretrain", "reinforce": "reinforce", "sweep": "pretrain"}
"""The kind of the stage that the drill interrupts, by recipe."""
WITHOUT_RAY = {
    "train": ["pretrain.num_workers=0"],
    "reinforce": [],
    "sweep": [],
}
"""Settings of the uninterrupted runs. They do not change the models."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recipes")
    rows = [
        {"prompt": f"Which colour has the {thing}?", "completion": f"It is {colour}.", "liked": "It is red."}
        for thing in ("car", "boat", "tree", "bird", "stone", "house", "field", "lamp")
        for colour in ("red", "blue")
        for _ in range(5)
    ]
    (made / "conversations.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    texts = (f"{row['prompt']} {row['completion']} This is text {number}." for number, row in enumerate(rows))
    (made / "texts.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
    for name, recipe in RECIPES.items():
        (made / f"{name}.yaml").write_text(recipe)
    return made


@pytest.fixture(scope="module")
def calm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Runner]:
    """`calm("train")` is an uninterrupted run of a recipe. It is made once."""
    made: dict[str, Runner] = {}

    def make(recipe: str) -> Runner:
        if recipe not in made:
            root = tmp_path_factory.mktemp(recipe) / "calm"
            found = Runner(folder / f"{recipe}.yaml", root, *WITHOUT_RAY[recipe], command=command(recipe))
            found.finish()
            made[recipe] = found
        return made[recipe]

    return make


@pytest.fixture
def struck(folder: Path, tmp_path: Path, calm: Callable[[str], Runner]) -> Iterator[Callable[[str], Runner]]:
    """`struck("train")` is a run of a recipe that reuses the stages before the interrupted one."""
    made = []

    def make(recipe: str) -> Runner:
        found = Runner(folder / f"{recipe}.yaml", tmp_path / "struck", command=command(recipe))
        found.reuse(calm(recipe), without=STRUCK[recipe])
        made.append(found)
        return found

    yield make
    for one in made:
        one.end()


def command(recipe: str) -> str:
    return "sweep" if recipe == "sweep" else "run"


def check_error(runner: Runner, name: str) -> None:
    """Checks that the newest run recorded the cause, and that its output ends with one error."""
    message = f"Ray's {NAMES[name]} died (killed by SIGKILL)"
    last = [event for event in runs.find(runner.root, None).events() if event["event"] == "run_failed"][-1]
    assert last["error"] == message
    said = runner.said()
    words = said[said.rindex("error: ") :]
    assert words.startswith(f"error: {message}\n\nhint: ")
    assert "Traceback" not in words


def check_kills(run: Runner, kind: str) -> None:
    """Kills the driver, the raylet and the GCS, each in another attempt, as soon as there is a newer checkpoint."""
    for name in ("driver", *NAMES):
        code, times = kill_at_checkpoint(run, run.start(), kind, name)
        print(times, flush=True)
        if name != "driver":
            assert code == 1, run.said()
            check_error(run, name)


@pytest.mark.parametrize("recipe", ["train", "reinforce"])
def test_training_survives_kills(struck: Any, calm: Any, recipe: str) -> None:
    run, kind = struck(recipe), STRUCK[recipe]
    check_kills(run, kind)
    words = run.said()[run.said().rindex("error: ") :]
    assert "\ncontinue with: bessemer " in words
    run.finish()
    assert run.models(kind) == calm(recipe).models(kind) != {}


def trials(runner: Runner) -> dict[str, tuple[str, float]]:
    """(status, metric) of each trial of the newest sweep, by its values."""
    found = storage.read_json(runs.find(runner.root, None).folder / "sweep.json")
    return {json.dumps(trial["assignments"]): (trial["status"], trial["metric"]) for trial in found["trials"]}


def test_a_sweep_survives_kills_and_gc(struck: Any, calm: Any) -> None:
    """After the kills, `gc` runs again and again until the end of the sweep, with and without a budget."""
    run = struck("sweep")
    check_kills(run, "pretrain")
    sweep, answers = run.start(), []
    while sweep.poll() is None:
        for choice in ([], ["--budget", "0B"]):
            words = [sys.executable, "-m", "bessemer", "gc", "--yes", *choice, "--storage-path", str(run.root)]
            answers.append(subprocess.run(words, capture_output=True, text=True, check=False))
        time.sleep(2.0)
    print(f"gc ran {len(answers)} times", flush=True)
    assert sweep.returncode == 0, run.said()
    assert "best:" in run.said()
    for answer in answers:
        assert answer.returncode == 0, answer.stderr
        assert "Traceback" not in answer.stderr
    assert trials(run) == trials(calm("sweep"))
    assert len(trials(run)) == 3
    found, expected = run.models("pretrain"), calm("sweep").models("pretrain")
    assert found == expected
    assert len(found) == 3
    for artifact in Store(run.root).all():
        artifact.verify(hashes=True)


def test_a_run_on_one_machine_listens_on_the_loopback_interface_only(struck: Any) -> None:
    run = struck("train")
    process = run.start()
    wait_for(lambda: run.newest_step("pretrain") > 0, process, run)
    found = list(listeners(run.processes()))
    assert found
    assert all(one.is_loopback for one in found), found


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT, signal.SIGINT]])
def test_signals_while_ray_starts_end_in_one_error(struck: Any, signals: list[signal.Signals]) -> None:
    run = struck("train")
    process = run.start()
    wait_for(lambda: bool(run.named_by_program("gcs_server")), process, run)
    began = time.monotonic()
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(0.3)
    code = process.wait(timeout=60)
    ended = time.monotonic() - began
    gone = wait_until_gone(run)
    print(f"{signals}: exit code {code} after {ended:.1f} s, all gone {gone:.1f} s later", flush=True)
    assert code == 130, run.said()
    check_gone(gone)
    assert run.said().count("error: ") == 1
    assert "Traceback" not in run.said(), run.said()
    assert run.status() == "stopped"
