"""If fine-tuning or alignment is killed at any moment, the same command makes the same models, byte for byte.

The recipe fine-tunes a small model, aligns it with preferences, and trains it by GRPO with answers from Ray actors and
by PPO with a reward model. The drills check:

- The driver, its process group, a training worker and a rollout actor are killed with SIGKILL at random moments, and
  the run is stopped with SIGINT and SIGTERM. After each of these, `bessemer runs` shows the cause, and no process is
  left.
- Two training workers, sharded or not, give the same curves as one. If one of them dies, the models are the same.
- If two runs need the same model, one makes it. If that run dies, the other continues its work.

Run by `make drill`; prints each event with its time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.drills.struck_run import Runner, wait_until_gone

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.fingerprint import file_sha256
from bessemer.runner import runs

pytestmark = pytest.mark.drill

BLOWS = 12
TARGETS = ("driver", "training worker", "SIGINT", "rollout actor", "group", "SIGTERM")
PROCESSES = {"training worker": "ray::RayTrainWorker", "rollout actor": "ray::_Actor"}
THINGS = ["car", "boat", "tree", "bird", "stone", "house", "field", "wood", "lamp", "door"]
COLOURS = ["red", "blue"]
TUNING = (
    "max_seq_length: 64, global_batch_size: 8, optimizer: adamw, dtype: float32, num_threads: 1, log_interval: 1, "
    "checkpoint_interval_seconds: 1"
)
REWARDS = "[{kind: exact_match, column: liked}, {kind: length, target: 5, weight: 0.1}]"
RECIPE = f"""
name: tuning
seed: 1
num_workers: 0
stages:
  ingest: {{paths: [texts.txt], split: {{validation: 0.05}}}}
  tokenizer: {{vocab_size: 512}}
  tokenize:
  pretrain: {{model: {{size: nano}}, max_seq_length: 64, global_batch_size: 8, max_steps: 20, dtype: float32}}
  conversations: {{paths: [conversations.jsonl], split: {{validation: 0.2}}}}
  finetune: {{{TUNING}, max_steps: 120, learning_rate: 0.003, num_workers: 1}}
  pairs: {{num_generations: 6, max_completion_length: 8, rewards: {REWARDS}, num_workers: 1}}
  align: {{from: [finetune, pairs], {TUNING}, max_steps: 150, dpo: {{}}}}
  reward: {{from: [finetune, pairs], {TUNING}, max_steps: 60}}
  grpo: {{stage: reinforce, from: [finetune, conversations], {TUNING}, max_steps: 60, rewards: {REWARDS},
    grpo: {{num_generations: 4, max_completion_length: 8, num_iterations: 2}}, rollout_workers: 2, num_workers: 1}}
  ppo: {{stage: reinforce, from: [finetune, conversations, reward], {TUNING}, max_steps: 60,
    rewards: [{{kind: function, file: rewards.py, name: warm}}],
    ppo: {{num_generations: 4, max_completion_length: 8}}}}
"""
TUNED_AGAIN = ("align", "reward", "grpo", "ppo")
MODELS = ("finetune", "align", "reward", "grpo", "ppo")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    rows = [
        {"prompt": f"Which colour has the {thing}?", "completion": f"It is {colour}.", "liked": "It is red."}
        for thing in THINGS
        for colour in COLOURS
        for _ in range(5)
    ]
    (folder / "conversations.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "texts.txt").write_text("\n\n".join(f"{r['prompt']} {r['completion']} {n}." for n, r in enumerate(rows)))
    (folder / "rewards.py").write_text(
        "def warm(completions, **columns):\n    return [len(c) / 9 for c in completions]\n"
    )
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def calm(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """An uninterrupted run."""
    found = Runner(recipe, tmp_path_factory.mktemp("runs") / "calm")
    found.finish()
    return found


@pytest.fixture
def runner(recipe: Path, tmp_path: Path) -> Iterator[Any]:
    """`runner("name", "seed=2")`."""
    made = []

    def make(name: str, *settings: str) -> Runner:
        made.append(Runner(recipe, tmp_path / name, *settings))
        return made[-1]

    yield make
    for one in made:
        one.end()


def strike(runner: Runner, process: subprocess.Popen[bytes], target: str) -> str | None:
    """Kills or signals `target` as soon as it exists; returns the status in `bessemer runs` if this ended the run."""
    if target in PROCESSES:
        while process.poll() is None and not (victims := runner.named(PROCESSES[target])):
            time.sleep(0.1)
        if process.poll() is None:
            time.sleep(random.uniform(0, 4))
            for victim in victims[:1]:
                victim.kill()
        return None
    if target in ("SIGINT", "SIGTERM"):
        process.send_signal(signal.Signals[target])
        return "stopped"
    if target == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    return "interrupted"


def left_behind(root: Path) -> list[Path]:
    """The held leases and the unfinished folders of artifacts."""
    unfinished = [path for path in (root / "artifacts").rglob(f"{storage.TEMPORARY}*") if path.is_dir()]
    return unfinished + [path for path in (root / "artifacts").rglob("lease-*.json") if lease.holder(path.parent)]


def losses(root: Path, stage: str) -> dict[int, float]:
    """Step -> loss, over all attempts. Fails if a repeated step has a different loss."""
    found: dict[int, float] = {}
    for file in sorted((runs.find(root, None).artifact_folder(stage) / "metrics").glob("*.jsonl")):
        for line in storage.read_lines(file):
            loss = line["metrics"]["train/loss"]
            assert found.setdefault(line["step"], loss) == loss, f"{stage}: step {line['step']} has two losses"
    return found


def digests(root: Path) -> dict[str, str]:
    """The digests of the finished models and of the pairs, by stage."""
    run = runs.find(root, None)
    files = {stage: run.artifact_folder(stage) / "data" / "model.safetensors" for stage in MODELS}
    files["pairs"] = next((run.artifact_folder("pairs") / "data").glob("*.parquet"))
    return {stage: file_sha256(file) for stage, file in files.items()}


def test_blows_change_nothing_in_what_is_tuned(runner: Any, calm: Runner) -> None:
    seed = int(os.environ.get("BESSEMER_DRILL_SEED", "1"))
    random.seed(seed)
    storm = runner("storm")
    print(f"seed {seed}")
    process, attempts = storm.start(), 0
    for number in range(BLOWS):
        target = TARGETS[number % len(TARGETS)]
        time.sleep(random.uniform(1.0, 12.0))
        expected = strike(storm, process, target)
        if expected is None and process.poll() is None:
            print(f"{number + 1:2d}. a {target}", flush=True)
            continue
        code, gone = process.wait(timeout=60), wait_until_gone(storm)
        under_way = [name for name, event in storm.stages().items() if event in ("stage_started", "stage_stopped")]
        what = f"{target} during {', '.join(under_way) or 'start'}"
        print(f"{number + 1:2d}. {what}: exit code {code}, all gone in {gone:.1f} s", flush=True)
        if code == 0:
            break
        if storm.attempts() > attempts:  # otherwise it was killed before it started
            assert storm.status() == expected, storm.said()
            attempts = storm.attempts()
        process = storm.start()
    assert process.wait(timeout=900) == 0, storm.said()
    check_like(calm, storm)


def check_like(calm: Runner, struck: Runner) -> None:
    """Checks that the interrupted run made the same artifacts as the uninterrupted run, and left no other files."""
    wait_until_gone(struck)
    assert struck.status() == "finished"
    assert not left_behind(struck.root)
    assert digests(struck.root) == digests(calm.root)
    assert all(losses(struck.root, stage) == losses(calm.root, stage) for stage in MODELS)


def test_two_workers_have_the_curves_of_one_and_survive_blows(runner: Any, calm: Runner) -> None:
    """Two workers repeat the training from the artifacts of one worker. Then workers and actors are killed."""
    again = [word for stage in TUNED_AGAIN for word in ("--rerun", stage)]
    settings = [f"{stage}.num_workers=2" for stage in TUNED_AGAIN] + ["align.sharding=full", "grpo.sharding=full"]
    two, struck = (runner(name, *settings, "grpo.rollout_workers=1", *again) for name in ("two", "struck"))
    for one in (two, struck):
        shutil.copytree(calm.root / "artifacts", one.root / "artifacts")
    two.finish()
    for stage in TUNED_AGAIN:
        expected, found = losses(calm.root, stage), losses(two.root, stage)
        assert found.keys() == expected.keys()
        begun = range(1, 7)  # then rounding has made another token likelier somewhere
        assert [found[step] for step in begun] == pytest.approx([expected[step] for step in begun], rel=0.02, abs=2e-3)
    process = struck.start()
    for target in ("training worker", "rollout actor", "training worker", "driver"):
        strike(struck, process, target)
        print(f"a {target}", flush=True)
        time.sleep(5)
    process.wait()
    struck.finish()
    check_like(two, struck)


def test_two_runs_at_once_make_a_model_once(runner: Any, calm: Runner) -> None:
    """The second run waits for the first. The first is killed, the second continues its work, and a third reuses
    all."""
    shared = runner("shared", "--until", "align")
    first, second = shared.start(), shared.start()
    folder = storage_folder(calm, shared, "finetune")
    while not list((folder / "checkpoints").glob("step-*")) or not (owner := lease.holder(folder)):
        assert first.poll() is None or second.poll() is None, shared.said()
        time.sleep(0.1)
    maker, other = (first, second) if owner.pid == first.pid else (second, first)
    assert owner.pid == maker.pid
    maker.kill()
    assert other.wait(timeout=900) == 0, shared.said()
    assert "waiting to reuse it" in shared.said(), shared.said()
    assert sorted(run.status() for run in runs.all_runs(shared.root)) == ["finished", "interrupted"]
    shared.finish()
    assert sorted(run.status() for run in runs.all_runs(shared.root)) == ["finished", "finished", "interrupted"]
    wait_until_gone(shared)
    assert not left_behind(shared.root)
    for stage in ("finetune", "align"):
        found = storage_folder(calm, shared, stage)
        assert len(list(found.parent.iterdir())) == 1
        assert file_sha256(found / "data" / "model.safetensors") == digests(calm.root)[stage]


def storage_folder(calm: Runner, other: Runner, stage: str) -> Path:
    """The folder in which `other` keeps the artifact that `calm` made in `stage`."""
    return other.root / runs.find(calm.root, None).artifact_folder(stage).relative_to(calm.root)
