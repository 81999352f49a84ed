"""Writes a run folder with everything that a report can show. Two of its stages are reused from an earlier run."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer import storage
from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table
from bessemer.fingerprint import content_hash, fingerprint, origin_id
from bessemer.recipe import yaml

BEGIN = 1_800_000_000.0
NASTY = '<script>alert("x")</script> & </blockquote>'
PERSON = "write to jane.doe@example.com or call 415-555-2671"
STAGES: list[tuple[str, str, dict[str, str]]] = [
    ("crawl", "pages", {}),
    ("extract", "documents", {"pages": "crawl"}),
    ("clean", "documents", {"documents": "extract"}),
    ("dedup", "documents", {"documents": "clean"}),
    ("tokenizer", "tokenizer", {"documents": "dedup"}),
    ("tokenize", "tokens", {"documents": "dedup", "tokenizer": "tokenizer"}),
    ("pretrain", "model", {"tokens": "tokenize", "tokenizer": "tokenizer"}),
    ("evaluate", "scores", {"model": "pretrain", "tokens": "tokenize"}),
]
COUNTS: dict[str, tuple[int, int, int, dict[str, int]]] = {
    "crawl": (0, 1260, 1184, {"http/404": 51, "robots": 25}),
    "extract": (1184, 0, 1121, {"no_main_text": 63}),
    "clean": (
        1121, 0, 874,
        {"gopher_quality/mean_word_length": 71, "language/other": 98, "c4/too_few_sentences": 66, NASTY: 12},
    ),
    "dedup": (874, 0, 731, {"exact_duplicate": 60, "near_duplicate": 83}),
    "tokenize": (731, 0, 731, {}),
}  # fmt: skip
SECONDS = {
    "crawl": 41.0, "extract": 12.5, "clean": 9.2, "dedup": 4.1, "tokenizer": 6.3, "tokenize": 2.0, "pretrain": 141.0,
    "evaluate": 17.4,
}  # fmt: skip
METRICS: dict[str, dict[str, float]] = {
    "tokenizer": {"tokenizer/vocab_size": 8192},
    "tokenize": {"data/tokens": 2_417_318, "data/bytes_per_token": 3.71},
    "pretrain": {"train/tokens": 2_359_296, "validation/bits_per_byte": 1.874, "validation/loss": 4.82},
    "evaluate": {"evaluate/test_bits_per_byte": 1.902, "evaluate/signatures_acc": 0.394},
}


def build_demo_run(root: Path, *, steps: int = 576, rename: Mapping[str, str] | None = None) -> Path:
    """Writes the run under `root` and returns its folder. `rename` maps kinds of stages to stage names."""
    names = {name: name for name, _, _ in STAGES} | dict(rename or {})
    folder = root / "quickstart-20270115-080000-7a3c"
    prints = {name: fingerprint(["demo", name]) for name, _, _ in STAGES}
    _plan(folder, prints, names)
    clock = BEGIN + 2
    for name, produces, inputs in STAGES:
        reused = name in ("crawl", "extract")
        artifact = root / "artifacts" / name / prints[name]
        (artifact / "data").mkdir(parents=True)
        facts = {"stage": names[name], "kind": name, "fingerprint": prints[name]}
        began = clock
        clock = began if reused else began + SECONDS[name]
        if not reused:
            _event(folder, began, "stage_started", **facts, attempt=1)
        _fill(artifact, root, name, prints, began, steps)
        made = BEGIN - 86_400 if reused else clock
        _manifest(artifact, name, produces, inputs, prints, made)
        seconds = {} if reused else {"seconds": SECONDS[name]}
        _event(folder, clock, "stage_reused" if reused else "stage_finished", **facts, **seconds)
    _event(folder, clock + 0.4, "run_finished")
    return folder


def _plan(folder: Path, prints: dict[str, str], names: dict[str, str]) -> None:
    stages = [
        {
            "name": names[name],
            "kind": name,
            "produces": produces,
            "fingerprint": prints[name],
            "inputs": {kind: names[source] for kind, source in inputs.items()},
            "config": {"vocab_size": 8192} if name == "tokenizer" else {},
        }
        for name, produces, inputs in STAGES
    ]
    storage.write_json(folder / "plan.json", {"recipe": "quickstart", "fingerprint": "demo", "stages": stages})
    resolved = {
        "name": "quickstart",
        "description": "A little Python documentation assistant, from web pages to an evaluated model, on a laptop.",
        "seed": 1,
        "cost": {"price_per_hour": 0.4, "currency": "USD"},
        "stages": {},
    }
    storage.write_text(folder / "resolved.yaml", yaml.dump(resolved))
    storage.write_text(folder / "recipe.yaml", "name: quickstart\nseed: 1\nstages:\n  crawl:\n    # <seeds>\n")
    command = "bessemer run pipelines/quickstart/recipe.yaml pretrain.learning_rate=2e-2"
    _event(folder, BEGIN, "run_started", recipe="quickstart", command=command, host="anvil", pid=1, attempt=1)


def _fill(artifact: Path, root: Path, name: str, prints: dict[str, str], began: float, steps: int) -> None:
    if name in ("extract", "clean"):
        write_parquet(_documents(COUNTS[name][2]), artifact / "data" / "00000.parquet")
    if name in ("clean", "dedup", "crawl"):
        _ledger(artifact / "ledger" / "00000.parquet", name)
    if name == "pretrain":
        _curves(artifact / "metrics" / "0001.jsonl", began, steps)
    if name == "evaluate":
        _scores(artifact / "data")


def _documents(count: int) -> pa.Table:
    sentence = "The function returns the arithmetic mean of the data as a float, faster than the general one. "
    rows = []
    for number in range(count):
        text = f"statistics.fmean, page {number}.\n\n" + sentence * 8
        text = f"{PERSON}. {text}" if number % 3 == 0 else text
        rows.append(
            {
                "id": origin_id("demo", str(number)),
                "text": text,
                "content_hash": content_hash(text),
                "url": f"http://library.test/{number}.html",
                "source": "library.test",
                "split": "train",
                "metadata": "{}",
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _ledger(path: Path, name: str) -> None:
    documents_in, created, _, rules = COUNTS[name]
    removed = [rule for rule, count in rules.items() for _ in range(count)]
    total = documents_in + created
    rules_column: list[str | None] = [*removed, *[None] * (total - len(removed))]
    limits = [3.0 if rule and "word_length" in rule else None for rule in rules_column]
    table = ledger_table(
        [origin_id("demo", str(number)) for number in range(total)],
        [f"http://library.test/{number}.html" for number in range(total)],
        [REMOVED if rule else KEPT for rule in rules_column],
        rules=rules_column,
        values=[2.731 if limit else None for limit in limits],
        thresholds=limits,
        evidence=[f"{NASTY} {PERSON}" if rule == NASTY else None for rule in rules_column],
        created=created > 0,
    )
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)


def _curves(path: Path, began: float, steps: int) -> None:
    noise = random.Random(0)
    for step in range(1, steps + 1):
        rate = 0.02 * min(1.0, step / 40, (steps - step) / (0.4 * steps))
        loss = 4.1 + 5.0 * math.exp(-step / 60) + 0.6 * (1 - step / steps)
        metrics = {
            "train/loss": loss + noise.gauss(0, 0.09),
            "train/learning_rate": rate,
            "train/grad_norm": 0.4 + 2.2 * math.exp(-step / 30) + abs(noise.gauss(0, 0.08)),
            "throughput/tokens_per_second": 17_500 + noise.gauss(0, 420) - (4_000 if step % 97 == 0 else 0),
        }
        if step % 48 == 0:
            metrics |= {"validation/loss": loss + 0.14, "validation/bits_per_byte": (loss + 0.14) / math.log(2) / 3.71}
        time = int((began + SECONDS["pretrain"] * step / steps) * 1000)
        storage.append_line(path, {"step": step, "timestamp": time, "metrics": metrics})


def _scores(data: Path) -> None:
    """Writes scores of an earlier model and of the run's own, with one contaminated item."""
    columns = ("model", "task", "metric", "group", "value", "standard_error", "n", "chance")
    rows = [
        ("before", "test", "bits_per_byte", None, 1.967, 0.022, 118, None),
        ("pretrain", "test", "bits_per_byte", None, 1.902, 0.021, 118, None),
        ("pretrain", "test", "bits_per_byte", "library.test", 1.871, 0.024, 97, None),
        ("pretrain", "test", "perplexity", None, 132.4, None, 118, None),
        ("before", "signatures", "acc", None, 0.386, 0.0218, 500, 0.25),
        ("pretrain", "signatures", "acc", None, 0.394, 0.0219, 500, 0.25),
        ("pretrain", "signatures", "acc_norm", None, 0.418, 0.0221, 500, 0.25),
        ("pretrain", "signatures", "contaminated", None, 0.034, 0.0081, 500, None),
        ("pretrain", "signatures", "acc", "clean items", 0.391, 0.0223, 483, None),
        ("pretrain", "canaries", "exposure", None, 6.1, 1.2, 16, None),
        ("pretrain", "canaries", "control_exposure", None, 1.38, 0.31, 16, None),
        ("pretrain", "canaries", "exposure", "copies 1", 1.6, 0.4, 8, None),
        ("pretrain", "canaries", "exposure", "copies 64", 10.6, 1.9, 8, None),
        *(
            ("pretrain", "memorised", f"{split}tokens_given_back", f"prefix {prefix}", value, 0.03, 500, None)
            for split, values in (("", (0.31, 0.44, 0.71)), ("held_out_", (0.29, 0.3, 0.32)))
            for prefix, value in zip((25, 50, 100), values, strict=True)
        ),
    ]
    types = dict(zip(columns, (pa.string(),) * 4 + (pa.float64(),) * 2 + (pa.int64(), pa.float64()), strict=True))
    table = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema=pa.schema(types))
    pq.write_table(table, data / "scores.parquet")
    pq.write_table(pa.Table.from_pylist([_comparison(*row) for row in DIFFERENCES]), data / "comparisons.parquet")
    seen = {"task": "signatures", "id": "test:17", "num_words": 31, "ngram_size": 13, "overlap": 0.52}
    seen |= {"contaminated": True, "document": "x", "url": f"http://library.test/{NASTY}", "split": "train"}
    pq.write_table(pa.Table.from_pylist([seen]), data / "contamination.parquet")
    samples = [
        ("The statistics module", " provides functions for the mean of data.", " offers functions for numeric data."),
        ("To open a file,", f" use open() {NASTY} and close it afterwards.", None),
    ]
    for model in ("before", "pretrain"):
        for prompt, completion, reference in samples:
            written = completion if model == "pretrain" else " is is is the the"
            line = {"model": model, "task": "samples", "prompt": prompt, "completion": written, "reference": reference}
            storage.append_line(data / "samples.jsonl", line)
        items = [_item(number, right=(number + (model == "before")) % 3 > 0) for number in range(6)]
        (data / "items" / model).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(items), data / "items" / model / "signatures.parquet")


DIFFERENCES = [
    ("test", "bits_per_byte", 1.967, 1.902, 0.008, 0.0002, True),
    ("signatures", "acc", 0.386, 0.394, 0.0151, 0.62, False),
]


def _comparison(task: str, metric: str, before: float, after: float, error: float, p: float, noisy: bool) -> Any:
    difference = after - before
    return {
        "task": task, "metric": metric, "model_a": "before", "model_b": "pretrain", "value_a": before,
        "value_b": after, "difference": difference, "win_rate": 0.6, "standard_error": error,
        "low": difference - 1.96 * error, "high": difference + 1.96 * error,
        "p": p, "larger_than_noise": noisy, "n": 118, "num_resamples": 10_000,
        "seed": 0,
    }  # fmt: skip


def _item(number: int, *, right: bool) -> Any:
    return {
        "id": f"test:{number}", "query": f"Question {number}: what does `statistics.fmean` take?",
        "choices": [" an iterable of numbers", " a file"], "gold": [0],
        "log_likelihoods": [-1.0, -2.0] if right else [-2.0, -1.0], "acc": float(right),
    }  # fmt: skip


def _manifest(
    artifact: Path, name: str, produces: str, inputs: dict[str, str], prints: dict[str, str], made: float
) -> None:
    counts: dict[str, Any] | None = None
    if name in COUNTS:
        documents_in, created, out, rules = COUNTS[name]
        counts = {"documents_in": documents_in, "created": created, "documents_out": out, "changed": out // 3}
        counts |= {"removed": sum(rules.values()), "bytes_in": 0, "bytes_out": out * 5120, "removed_by_rule": rules}
    files = [
        {"path": path.relative_to(artifact).as_posix(), "size": 0, "sha256": ""}
        for folder in ("data", "ledger")
        for path in storage.files_under(artifact / folder)
    ]
    resolved = {"num_parameters": 6_300_000, "num_tokens": 2_359_296, "dtype": "bfloat16", "learning_rate": 0.02}
    storage.write_json(
        artifact / "manifest.json",
        {
            "kind": produces,
            "stage": name,
            "fingerprint": prints[name],
            "inputs": {
                kind: {"stage": source, "fingerprint": prints[source], "digest": prints[source]}
                for kind, source in inputs.items()
            },
            "files": [{"path": "data/x", "size": 5_242_880, "sha256": ""}, *files],
            "stage_version": 1,
            "config": {},
            "attempts": 1,
            "digest": fingerprint(["digest", name]),
            "counts": counts,
            "metrics": METRICS.get(name, {}),
            "resolved": resolved if name == "pretrain" else {},
            "versions": {"bessemer": "0.1.0", "torch": "2.13.0"},
            "seconds": SECONDS[name],
            "created_at": _time(made),
        },
    )


def _event(folder: Path, time: float, event: str, **facts: Any) -> None:
    storage.append_line(folder / "events.jsonl", {"time": _time(time), "event": event, **facts})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
