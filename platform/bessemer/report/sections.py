"""The sections of the report. Each is a function from `Facts` to markup, or to None if there is nothing to show."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bessemer.commands import with_storage_path
from bessemer.formatting import format_bytes, format_count, format_number, format_seconds
from bessemer.recipe import yaml
from bessemer.report import charts
from bessemer.report.charts import Series
from bessemer.report.curves import Curve
from bessemer.report.facts import Facts
from bessemer.report.markup import Html, element, markup, table
from bessemer.report.page import fold, section, tile
from bessemer.tracking.records import FAILED, FINISHED, KILLED, RUNNING, StageRecord, milliseconds

STATUS = {FINISHED: "✓ finished", FAILED: "✗ failed", KILLED: "‖ stopped", RUNNING: "▸ running"}
STATES = STATUS | {"reused": "= reused", "waiting": "· not run"}
MOST_CHARTS = 12

CHARTS: list[tuple[str, tuple[str, ...], bool]] = [
    ("Loss", ("train/loss", "validation/loss"), False),
    ("Bits per byte on held-out text", ("validation/bits_per_byte",), False),
    (
        "Reward of sampled answers, and of greedy answers to held-out prompts",
        ("train/reward", "validation/reward"),
        False,
    ),
    (
        "Rewards of chosen and of rejected answers",
        ("train/rewards_chosen", "train/rewards_rejected"),
        False,
    ),
    (
        "Share of pairs in which the chosen answer has the higher reward",
        ("train/rewards_accuracies", "validation/rewards_accuracies"),
        False,
    ),
    ("KL divergence from the reference model", ("train/kl",), True),
    ("Tokens per answer", ("train/completion_length",), True),
    (
        "Truncated answers, failed rewards, groups without spread; correlation of length and reward",
        (
            "train/truncated_ratio",
            "train/reward_failures",
            "train/zero_spread_ratio",
            "train/length_reward_correlation",
        ),
        True,
    ),
    ("Each reward, before weighting", ("train/reward_*",), False),
    ("Difference in log-probability between trainer and rollouts (nats per token)", ("train/logprob_gap",), True),
    ("Learning rate", ("train/learning_rate",), True),
    ("Gradient norm", ("train/grad_norm",), True),
    ("Tokens per second", ("throughput/tokens_per_second",), True),
    ("Teraflops", ("throughput/teraflops",), True),
    ("Model FLOPS utilisation", ("throughput/model_flops_utilisation",), True),
    ("Share of time spent on checkpoints", ("throughput/checkpoint_ratio",), True),
    ("Peak memory (GiB)", ("memory/peak_gib",), True),
    ("Energy (kWh)", ("energy/kilowatt_hours",), True),
    ("Share of time spent waiting for data", ("throughput/data_wait_ratio",), True),
]
"""Title, metrics in one chart (`*` is a wildcard), and whether the y axis starts at zero. Every other metric gets
its own chart."""
UNDRAWN = {"train/tokens", "train/skipped_steps"}
UNITS = {
    ("pretrain", "Loss"): "Loss (nats per token)",
    ("finetune", "Loss"): "Loss (nats per token)",
    ("align", "KL divergence from the reference model"): "KL divergence from the reference model (nats per answer)",
    ("reinforce", "KL divergence from the reference model"): "KL divergence from the reference model (nats per token)",
}
"""Titles with a unit, by (kind of stage, title)."""


def header(facts: Facts) -> Html:
    run = facts.run
    bad = "status bad" if run.status in (FAILED, KILLED) else "status"
    known = [
        ("run", run.name),
        ("started", _time(run.started)),
        ("running for" if run.status == RUNNING else "took", format_seconds(facts.elapsed(run.started, run.ended))),
        ("on", facts.host),
        ("seed", str(facts.settings.get("seed", ""))),
        ("Bessemer", facts.versions.get("bessemer", "")),
    ]
    return element(
        "header",
        element("h1", run.recipe),
        element("p", facts.settings.get("description"), class_="lead") if facts.settings.get("description") else None,
        element(
            "ul",
            element("li", element("span", STATUS[run.status], class_=bad)),
            (element("li", f"{name} ", element("b", value)) for name, value in known if value),
            class_="facts",
        ),
        element("p", run.error, class_="quiet") if run.error else None,
    )


def navigation(sections: list[tuple[str, str]]) -> Html:
    return element("nav", (element("a", title, href=f"#{name}") for name, title in sections))


def key_figures(facts: Facts) -> Html | None:
    """Tiles with the most important numbers of the run."""
    tiles = []
    metrics, resolved = facts.metrics, facts.resolved
    documents = [row for stage, row in facts.funnel if stage.manifest["kind"] in ("pages", "documents")]
    if documents:
        created = sum(row.created for row in documents)
        tiles.append(tile(format_count(documents[-1].documents_out), f"documents of {format_count(created)}"))
    if "data/tokens" in metrics:
        tiles.append(tile(format_count(metrics["data/tokens"]), "tokens of text"))
    if trained := sum(stage.manifest["metrics"].get("train/tokens", 0) for stage in facts.finished):
        tiles.append(tile(format_count(trained), "tokens trained on"))
    if "num_parameters" in resolved:
        tiles.append(tile(format_count(resolved["num_parameters"]), "parameters"))
    if "validation/bits_per_byte" in metrics:
        tiles.append(tile(f"{metrics['validation/bits_per_byte']:.3f}", "bits per byte, held-out"))
    judged = [
        score
        for evaluation in facts.evaluations
        for score in evaluation.scores
        if score.chance is not None and score.group is None and score.model == evaluation.models[-1]
    ]
    tiles += [tile(f"{s.value:.1%}", f"{s.task}: {s.metric}, chance {s.chance:.0%}") for s in judged[:3]]
    tiles.append(tile(format_seconds(facts.seconds), "of work in this run"))
    return element("div", tiles, class_="tiles")


def stages(facts: Facts) -> Html | None:
    began = facts.run.started
    rows, spans, clock = [], [], 0.0
    for stage in facts.stages:
        manifest = stage.manifest
        is_running = stage.state == RUNNING
        took = facts.elapsed(stage.started, stage.ended) if stage.started and (stage.ended or is_running) else None
        rows.append(
            [
                element("b", stage.name),
                element("span", STATES[stage.state], class_="whole"),
                format_seconds(took) if took is not None else "",
                format_bytes(sum(file["size"] for file in manifest["files"])) if manifest else "",
                stage.error or _outcome(manifest),
            ]
        )
        note = format_seconds(took) if took is not None else STATES[stage.state].split(" ", 1)[1]
        first = (stage.started - began) / 1000 if stage.started else clock
        clock = first + (took or 0.0)
        spans.append((stage.name, first, clock, note))
    total = facts.elapsed(began, facts.run.ended)
    chart = charts.timeline_chart(spans, max(total, clock)) if clock else None
    return section("stages", "Stages", table(["stage", "", "took", "size", "result"], rows, numeric=[2, 3]), chart)


def training(facts: Facts) -> Html | None:
    parts = []
    for stage, curves in facts.curves:
        if len(facts.curves) > 1:
            parts.append(element("h3", stage.name))
        parts.append(element("div", _charts(stage.kind, curves), class_="charts"))
        if resolved := stage.manifest.get("resolved"):
            flat = {name: value for name, value in resolved.items() if not isinstance(value, dict)}
            rows = [[name, element("code", _value(value))] for name, value in sorted(flat.items())]
            parts.append(fold("Settings resolved at the start of training", table(["setting", "value"], rows)))
    return section("training", "Training", parts)


def _charts(kind: str, curves: dict[str, Curve]) -> Iterator[Html]:
    left = dict(curves)
    last = max(step for curve in curves.values() for step, _ in curve)
    drawn = 0
    for title, names, zero in CHARTS:
        found = [name for pattern in names for name in fnmatch.filter(left, pattern)]
        series = [series for name in found for series in _series(name, left.pop(name))]
        if series:
            drawn += 1
            shown = UNITS.get((kind, title), title)
            yield charts.line_chart(series, title=shown, x_label="step", x_range=(0, last), zero=zero)
    rest = [name for name in left if name not in UNDRAWN]
    for name in rest[: MOST_CHARTS - drawn]:
        yield charts.line_chart(_series(name, left[name]), title=name, x_label="step", x_range=(0, last))
    if missing := rest[MOST_CHARTS - drawn :]:
        yield element("p", f"also recorded: {', '.join(missing)}", class_="quiet")


def _series(name: str, curve: Curve) -> list[Series]:
    """The lines for one curve. A long, noisy curve has two: itself, faint, and its moving average."""
    if len(curve) < 60 or not name.startswith("train/") or name == "train/learning_rate":
        return [Series(name, curve)]
    span = max(5, len(curve) // 30 | 1)
    return [
        Series(name, curve, faint=True),
        Series(f"{name} (mean of {span} points)", charts.smoothed(curve, span)),
    ]


def lineage(facts: Facts) -> Html | None:
    made = facts.finished
    place = {(stage.kind, stage.fingerprint): index for index, stage in enumerate(made)}
    nodes, edges, rows = [], set(), []
    for index, stage in enumerate(made):
        manifest = stage.manifest
        nodes.append((stage.name, manifest["kind"], _origin(stage)))
        sources = [place.get((i["stage"], i["fingerprint"])) for i in manifest["inputs"].values()]
        edges |= {(source, index) for source in sources if source is not None}
        rows.append(
            [
                stage.name,
                element("code", f"artifacts/{stage.kind}/{stage.fingerprint}"),
                element("code", manifest["digest"][:12]),
                _time(milliseconds(manifest["created_at"])),
                format_seconds(manifest["seconds"]),
            ]
        )
    if not nodes:
        return None
    return section(
        "lineage",
        "Origin of every artifact",
        element("p", "Equal fingerprints mean equal settings and inputs. Equal digests mean equal bytes."),
        charts.lineage_chart(nodes, sorted(edges)),
        table(["artifact of", "folder", "digest", "made", "took"], rows, numeric=[4]),
    )


def _origin(stage: StageRecord) -> str:
    size = format_bytes(sum(file["size"] for file in stage.manifest["files"]))
    return f"{size}, reused" if stage.state == "reused" else f"{size}, made by this run"


def cost(facts: Facts) -> Html | None:
    price, currency = facts.price_per_hour, facts.currency
    key = f"cost/{currency}"

    def money(seconds: float, stages: list[StageRecord]) -> str:
        costs = [stage.manifest["metrics"].get(key) for stage in stages]
        known = [cost for cost in costs if cost is not None]
        if price is not None:
            return f"{seconds / 3600 * price:.2f} {currency}"
        return f"{sum(known):.2f} {currency}" if known and len(known) == len(costs) else "n/a"

    made = facts.finished
    own = [stage for stage in made if stage.state != "reused"]
    everything = sum(stage.manifest["seconds"] for stage in made)
    rows = [
        ["work of this run", format_seconds(facts.seconds), money(facts.seconds, own)],
        [
            "all stages, reused ones included",
            format_seconds(everything),
            money(everything, facts.finished),
        ],
    ]
    note = markup(
        "Set ", element("code", "cost.price_per_hour"), " or ", element("code", "cost.prices"), " in the recipe to see "
        "the cost.",
    )  # fmt: skip
    return section(
        "cost",
        "Time and cost",
        table(["", "time", "cost"], rows, numeric=[1, 2]),
        element("p", note, class_="quiet") if rows[1][2] == "n/a" else None,
    )


def repeat(facts: Facts) -> Html | None:
    recipe = _text(facts.folder / "recipe.yaml")
    versions = [[name, element("code", version)] for name, version in sorted(facts.versions.items())]
    settings = {"stages": {s.name: s.config for s in facts.stages}} | {
        name: value for name, value in facts.settings.items() if name not in {s.name for s in facts.stages}
    }
    looks = (f"bessemer status {facts.run.name}", f"bessemer show {facts.run.name} STAGE", "bessemer ui")
    commands = [facts.command, *(with_storage_path(look, facts.root) for look in looks)]
    return section(
        "repeat",
        "How to repeat it",
        element(
            "p",
            "The first command, with the recipe below, makes the same artifacts or reuses them. The other commands "
            "inspect this run.",
        ),
        element("pre", "\n".join(filter(None, commands))),
        fold("The recipe as given", element("pre", recipe)) if recipe else None,
        fold("Every setting, defaults included", element("pre", yaml.dump(settings))),
        fold("Versions", table(["library", "version"], versions)) if versions else None,
    )


def _outcome(manifest: dict[str, Any]) -> str:
    """One line on an artifact: its document counts or, if it has none, its headline metrics."""
    if not manifest:
        return ""
    if counts := manifest["counts"]:
        parts = [f"{format_count(counts['documents_in'])} in"] if counts["documents_in"] else []
        parts += [f"{format_count(counts['created'])} created"] if counts["created"] else []
        return ", ".join([*parts, f"{format_count(counts['documents_out'])} out"])
    return ", ".join(f"{name} {_number(value)}" for name, value in sorted(manifest["metrics"].items())[:4])


def _number(value: float) -> str:
    return format_number(value)


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _time(when: int) -> str:
    return datetime.fromtimestamp(when / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
