"""If a Ray system process or the driver is killed, the run reports it within seconds and leaves no processes.

A small recipe trains on Ray, then runs reinforcement learning with answers from Ray actors, then a sweep. The raylet,
the GCS and the driver are killed with SIGKILL, and signals are sent while Ray starts. Each time, all processes must end
within `GONE_SECONDS`, and the same command must make the same models. Run by `make drill`; prints each event with its
time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.drills.struck_run import Runner, wait_until_gone

from bessemer.fingerprint import file_sha256
from bessemer.runner import runs
from bessemer.runner.exposure import listeners

pytestmark = pytest.mark.drill

GONE_SECONDS = 5.0
NAMES = {"raylet": "raylet", "gcs_server": "GCS"}
TUNING = "max_seq_length: 64, global_batch_size: 8, dtype: float32, num_threads: 1, checkpoint_interval_seconds: 1"
REWARDS = "[{kind: exact_match, column: liked}, {kind: length, target: 5, weight: 0.1}]"
RECIPE = f"""
name: struck
seed: 1
num_workers: 0
stages:
  ingest: {{paths: [texts.txt], split: {{validation: 0, test: 0}}}}
  tokenizer: {{vocab_size: 512}}
  tokenize:
  pretrain: {{model: {{size: nano}}, {TUNING}, max_steps: 1500, num_workers: 1}}
"""
REINFORCED = f"""
  conversations: {{paths: [conversations.jsonl], split: {{validation: 0.2}}}}
  finetune: {{{TUNING}, max_steps: 60, learning_rate: 0.003}}
  grpo: {{stage: reinforce, from: [finetune, conversations], {TUNING}, optimizer: adamw, max_steps: 40,
    rewards: {REWARDS}, grpo: {{num_generations: 4, max_completion_length: 8}}, rollout_workers: 2, num_workers: 1}}
"""
SWEPT = """
sweep:
  metric: validation/loss
  max_concurrent_trials: 2
  param_space: {pretrain.learning_rate: {grid: [0.001, 0.01, 0.02]}}
"""


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
    (made / "texts.txt").write_text("\n\n".join(f"{r['prompt']} {r['completion']} {n}." for n, r in enumerate(rows)))
    (made / "train.yaml").write_text(RECIPE)
    quick = RECIPE.replace("max_steps: 1500, num_workers: 1", "max_steps: 20")
    (made / "reinforce.yaml").write_text(quick + REINFORCED)
    swept = RECIPE.replace("validation: 0, test: 0", "validation: 0.3, test: 0").replace(
        "max_steps: 1500, num_workers: 1", "max_steps: 200"
    )
    (made / "sweep.yaml").write_text(swept + SWEPT)
    return made


@pytest.fixture
def runner(folder: Path, tmp_path: Path) -> Iterator[Any]:
    """`runner("train", "name")`."""
    made = []

    def make(recipe: str, name: str, *settings: str, command: str = "run") -> Runner:
        made.append(Runner(folder / f"{recipe}.yaml", tmp_path / name, *settings, command=command))
        return made[-1]

    yield make
    for one in made:
        one.end()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes], struck: Runner) -> None:
    began = time.monotonic()
    while not happened():
        assert process.poll() is None, struck.said()
        assert time.monotonic() - began < 600, struck.said()
        time.sleep(0.1)


def has_checkpoint(struck: Runner, stage: str) -> bool:
    return any(struck.root.glob(f"artifacts/{stage}/*/checkpoints/step-*/manifest.json"))


def kill_and_wait(struck: Runner, process: subprocess.Popen[bytes], name: str) -> tuple[int, float, float]:
    """Kills a system process or the driver. Returns (exit code, seconds until the driver ended, seconds until all
    did)."""
    began = time.monotonic()
    victims = [process] if name == "driver" else struck.named_by_program(name)
    assert victims
    for victim in victims:
        victim.kill()
    code = process.wait(timeout=120)
    ended = time.monotonic() - began
    wait_until_gone(struck)
    return code, ended, time.monotonic() - began


def check_error(struck: Runner, name: str) -> None:
    """Checks that the run recorded the cause, and that its output ends with one error and the command that
    continues."""
    (run,) = (run for run in runs.all_runs(struck.root) if run.events())
    last = [event for event in run.events() if event["event"] == "run_failed"][-1]
    assert last["error"] == f"Ray's {NAMES[name]} died (killed by SIGKILL)"
    said = struck.said()
    words = said[said.rindex("error: ") :]
    assert words.startswith(f"error: Ray's {NAMES[name]} died (killed by SIGKILL)\n\nhint: ")
    assert "\ncontinue with: bessemer " in words
    assert "Traceback" not in words


@pytest.mark.parametrize("name", NAMES)
def test_training_survives_the_death_of_a_system_process(runner: Any, name: str) -> None:
    struck = runner("train", "struck")
    process = struck.start()
    wait_for(lambda: has_checkpoint(struck, "pretrain"), process, struck)
    outside = [one for one in listeners(struck.processes()) if not one.is_loopback]
    assert not outside, "a run on one machine listens on the loopback interface only"
    code, ended, gone = kill_and_wait(struck, process, name)
    print(f"{name} during training: exit code {code} after {ended:.1f} s, all gone after {gone:.1f} s", flush=True)
    assert code == 1, struck.said()
    check_error(struck, name)
    assert gone - ended < GONE_SECONDS
    struck.finish()


@pytest.mark.parametrize("name", [*NAMES, "driver"])
def test_reinforcement_survives_a_kill(runner: Any, name: str) -> None:
    calm = runner("reinforce", "calm")
    calm.finish()
    struck = runner("reinforce", "struck")
    process = struck.start()
    wait_for(lambda: has_checkpoint(struck, "reinforce"), process, struck)
    code, ended, gone = kill_and_wait(struck, process, name)
    print(f"{name} during reinforce: exit code {code} after {ended:.1f} s, all gone after {gone:.1f} s", flush=True)
    if name != "driver":
        check_error(struck, name)
    assert gone - ended < GONE_SECONDS
    struck.finish()
    assert model(struck, "grpo") == model(calm, "grpo")


def model(runner: Runner, stage: str) -> str:
    return file_sha256(runs.find(runner.root, None).artifact_folder(stage) / "data" / "model.safetensors")


@pytest.mark.parametrize("name", ["driver", *NAMES])
def test_a_sweep_survives_a_kill(runner: Any, name: str) -> None:
    struck = runner("sweep", "struck", command="sweep")
    process = struck.start()
    wait_for(lambda: has_checkpoint(struck, "pretrain"), process, struck)
    code, ended, gone = kill_and_wait(struck, process, name)
    print(f"{name} during a sweep: exit code {code} after {ended:.1f} s, all gone after {gone:.1f} s", flush=True)
    assert gone - ended < GONE_SECONDS
    if name != "driver":
        assert code == 1, struck.said()
        assert f"error: Ray's {NAMES[name]} died" in struck.said()
    assert struck.start().wait(timeout=900) == 0, struck.said()
    assert "best:" in struck.said()


def test_the_death_of_the_driver_takes_everything_along(runner: Any) -> None:
    struck = runner("train", "struck")
    process = struck.start()
    wait_for(lambda: has_checkpoint(struck, "pretrain"), process, struck)
    _, _, gone = kill_and_wait(struck, process, "driver")
    print(f"driver during training: all gone after {gone:.1f} s", flush=True)
    assert gone < GONE_SECONDS


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT, signal.SIGINT]])
def test_signals_while_ray_starts_end_in_one_error(runner: Any, signals: list[signal.Signals]) -> None:
    struck = runner("train", "struck")
    process = struck.start()
    wait_for(lambda: bool(struck.named_by_program("gcs_server")), process, struck)
    began = time.monotonic()
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(0.3)
    code = process.wait(timeout=60)
    ended = time.monotonic() - began
    wait_until_gone(struck)
    gone = time.monotonic() - began
    print(f"{signals}: exit code {code} after {ended:.1f} s, all gone after {gone:.1f} s", flush=True)
    assert code == 130, struck.said()
    assert gone - ended < GONE_SECONDS
    assert struck.said().count("error: ") == 1
    assert "Traceback" not in struck.said()
    assert struck.status() == "stopped"
