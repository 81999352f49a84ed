"""Alignment compared with TRL: the time per step of DPO and GRPO, and the accuracy of GRPO and PPO on sums.

    python -m tests.benchmarks.bench_align [--peer PYTHON] [--steps 12] [--no-sums]

PYTHON is the interpreter of an environment with `trl`; without it the peer's column is empty. Both sides train the same
random model of the quickstart's shape in bf16 with AdamW, on the same rows: 32 pairs per step, or 4 prompts per step
with 8 answers of 32 tokens each. The result is the median over the steps after the first three. TRL's DPO is timed
twice: with its default, a pass of the reference model in every step, and with reference scores computed beforehand, as
in ours. Our time before the first step is printed too. The sums are a complete run of `pipelines/align`.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.artifacts.manifest import Manifest, describe_files
from bessemer.artifacts.store import Artifact
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.stages import align, conversations, preferences, reinforce
from bessemer.stages.base import Context, Draft
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

TEXT = "the model reads a text and writes what is likely to follow in the same words as before or after it"
BARE = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<|endoftext|>{% endif %}{% endfor %}"
"""A template that adds only the end of an answer, so that both sides have the same tokens."""
WARM_UP = 3
PAIRS, PROMPTS, NUM_GENERATIONS, COMPLETION = 32, 4, 8, 32
LEARNING_RATE = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="an interpreter that has trl")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--no-sums", action="store_true", help="leave out the seven minutes of sums")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        steps(Path(folder), options)
    if not options.no_sums:
        with tempfile.TemporaryDirectory() as folder:
            sums(Path(folder))


def steps(folder: Path, options: argparse.Namespace) -> None:
    inputs = materials(folder, rows=PAIRS * options.steps)
    common = {
        "max_steps": options.steps, "optimizer": "adamw", "learning_rate": LEARNING_RATE, "dtype": "bfloat16",
        "checkpoint_interval_seconds": 1e9, "max_seq_length": 512,
    }  # fmt: skip
    pairs = align.Config.model_validate(common | {"dpo": {}, "global_batch_size": PAIRS})
    ours, before = timed(align, pairs, inputs, folder / "dpo")
    print(f"  before the first step of DPO, the reference of all pairs among it: {before:.1f} s")
    for precompute in (False, True):
        kind = "the reference beforehand" if precompute else "as it is by default"
        compare(f"DPO, {PAIRS} pairs, TRL {kind}", ours, peer(options, folder, "dpo", precompute=precompute))
    group = {
        "num_generations": NUM_GENERATIONS, "max_completion_length": COMPLETION, "track_kl": False, "num_refills": 0,
    }  # fmt: skip
    rewards = [{"kind": "length", "target": COMPLETION}]
    policy = reinforce.Config.model_validate(common | {"grpo": group, "rewards": rewards, "global_batch_size": PROMPTS})
    ours, _ = timed(reinforce, policy, inputs, folder / "grpo")
    label = f"GRPO, {PROMPTS} prompts with {NUM_GENERATIONS} answers of {COMPLETION}"
    compare(label, ours, peer(options, folder, "grpo"))


def compare(what: str, ours: float, theirs: float | None) -> None:
    line = f"{what:62s} {ours * 1000:8.1f} ms a step"
    if theirs is not None:
        line += f", TRL {theirs * 1000:8.1f} ms, ratio {ours / theirs:.2f}, at most 0.70"
    print(line, flush=True)


def timed(stage: Any, config: Any, inputs: dict[str, Artifact], folder: Path) -> tuple[float, float]:
    """(median seconds per step, seconds until the first step has ended) of a stage, run in this process."""
    times: list[float] = []
    context = Context(0, 0, logging.getLogger("bench"), folder / "stop", lambda: None)
    context.progress = lambda *_, **__: times.append(time.perf_counter())
    began = time.perf_counter()
    stage.run(config, inputs, Draft(folder, "bench"), context)
    return statistics.median(np.diff(times)[WARM_UP - 1 :].tolist()), times[0] - began


def peer(options: argparse.Namespace, folder: Path, method: str, *, precompute: bool = False) -> float | None:
    """The median seconds per step of TRL."""
    if options.peer is None:
        return None
    settings = {
        "method": method, "precompute": precompute, "model": str(folder / "model" / "data"),
        "rows": str(folder / "rows.jsonl"), "output": str(folder / "trl"), "num_steps": options.steps,
        "num_threads": torch.get_num_threads(), "learning_rate": LEARNING_RATE, "num_generations": NUM_GENERATIONS,
        "max_completion_length": COMPLETION, "batch_size": PAIRS if method == "dpo" else PROMPTS,
    }  # fmt: skip
    script = Path(__file__).with_name("align_peer.py")
    done = subprocess.run([options.peer, script, json.dumps(settings)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"the peer ended with status {done.returncode}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    print("  " + ", ".join(f"{name} {version}" for name, version in answer["versions"].items()))
    return statistics.median(answer["seconds"][WARM_UP:])


def materials(folder: Path, *, rows: int) -> dict[str, Artifact]:
    """A random model of the quickstart's shape, its tokenizer, and rows of random words."""
    generator = np.random.default_rng(0)

    def words(least: int, most: int) -> str:
        return " ".join(generator.choice(TEXT.split(), generator.integers(least, most)))

    made = [
        {"prompt": words(15, 30), "chosen": " " + words(10, 40), "rejected": " " + words(10, 40)} for _ in range(rows)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in made))
    tokenizer = TokenizerFolder.trained(train_tokenizer([" ".join(row.values()) for row in made], 8192))
    tokenizer.settings["chat_template"] = BARE
    draft = Draft(folder / "tokenizer", "tokenizer")
    tokenizer.save(draft.data)
    inputs = {"tokenizer": sealed(draft, "tokenizer")}
    model = Transformer(ModelShape(size="tiny").resolve(vocab_size=8192, max_seq_length=512))
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.05, generator=torch.Generator().manual_seed(0))
    draft = Draft(folder / "model", "model")
    export_model(model, draft.data, tokenizer=inputs["tokenizer"].data, stop_ids=[tokenizer.end_of_text_id])
    inputs["model"] = sealed(draft, "model")
    held_out = {"paths": [str(folder / "rows.jsonl")], "split": {"validation": 0.001}}
    for stage, kind, extra in (
        (preferences, "preferences", {}),
        (conversations, "conversations", {"require_answer": False}),
    ):
        draft = Draft(folder / kind, kind)
        context = Context(0, 0, logging.getLogger("bench"), folder / "stop", lambda: None)
        stage.run(stage.Config.model_validate(held_out | extra), inputs, draft, context)
        inputs[kind] = sealed(draft, kind)
    return inputs


def sealed(draft: Draft, kind: str) -> Artifact:
    files, digest = describe_files(draft.path)
    manifest = Manifest(
        kind,
        kind,
        1,
        draft.fingerprint,
        {},
        {},
        {},
        files,
        digest,
        draft.counts,
        {},
        {},
        0.0,
        1,
        "2026-01-01T00:00:00Z",
    )
    manifest.write(draft.path)
    return Artifact(draft.path, manifest)


def sums(folder: Path) -> None:
    """Runs the recipe `pipelines/align`; prints shares of right answers before and after, and the time of each
    method."""
    recipe = Path("pipelines/align")
    subprocess.run([sys.executable, recipe / "make_sums.py"], check=True)
    command = [sys.executable, "-m", "bessemer", "run", recipe / "recipe.yaml", f"storage_path={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    for line in done.stderr.splitlines():
        if line.startswith(("grpo: finished", "ppo: finished")):
            print(line)
    for method in ("grpo", "ppo"):
        for file in (folder / "artifacts" / "reinforce").glob("*/metrics/0001.jsonl"):
            manifest = json.loads((file.parents[1] / "manifest.json").read_text())
            if manifest["resolved"]["objective"]["name"] == method:
                first, *_, last = map(json.loads, file.read_text().splitlines())
                shown = " to ".join(f"{line['metrics']['train/reward']:.3f}" for line in (first, last))
                print(f"{method}: mean reward of sampled answers {shown}, steps {first['step']} to {last['step']}")
    [scores] = (folder / "artifacts" / "evaluate").glob("*/data/scores.json")
    for row in json.loads(scores.read_text()):
        if row["metric"] == "exact_match" and row["group"] is None:
            value = f"{row['value']:.3f} ± {row['standard_error']:.3f}"
            print(f"{row['model']:10s} exact match of the likeliest answers {value}")


if __name__ == "__main__":
    main()
