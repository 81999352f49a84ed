"""Report section with the curves of each stage that trains."""

from __future__ import annotations

import fnmatch
from typing import Any

from markupsafe import Markup

from bessemer.report import charts
from bessemer.report.charts import Series
from bessemer.report.curves import Curve
from bessemer.report.facts import Facts
from bessemer.report.glossary import meaning_of
from bessemer.report.html import render
from bessemer.tracking.records import StageRecord

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


_TEMPLATE = """
{% for stage in stages %}
{% if stages[1:] %}<h3>{{ stage.name }}</h3>{% endif %}
<div class="charts">{% for chart in stage.charts %}{{ chart }}{% endfor %}</div>
{% if stage.undrawn %}<p class="quiet">also recorded: {{ stage.undrawn | join(", ") }}</p>{% endif %}
{% if stage.resolved %}
{% call fold("Settings resolved at the start of training") %}
{{ table([("setting", ""), ("value", "code")], stage.resolved) }}
{% endcall %}
{% endif %}
{% endfor %}
"""


def training(facts: Facts) -> Markup | None:
    """The section, or None if no stage recorded a curve."""
    stages = [_stage(stage, curves) for stage, curves in facts.curves]
    return render(_TEMPLATE, stages=stages) if stages else None


def _stage(stage: StageRecord, curves: dict[str, Curve]) -> dict[str, Any]:
    drawn, undrawn = _charts(stage.kind, curves)
    resolved = {n: v for n, v in stage.manifest.get("resolved", {}).items() if not isinstance(v, dict)}
    return {
        "name": stage.name,
        "charts": drawn,
        "undrawn": undrawn,
        "resolved": [(name, _value(value)) for name, value in sorted(resolved.items())],
    }


def _charts(kind: str, curves: dict[str, Curve]) -> tuple[list[Markup], list[str]]:
    """At most `MOST_CHARTS` charts, and the names of the metrics that are in none of them."""
    left = dict(curves)
    last = max(step for curve in curves.values() for step, _ in curve)
    drawn = []
    for title, names, zero in CHARTS:
        found = [name for pattern in names for name in fnmatch.filter(left, pattern)]
        series = [series for name in found for series in _series(name, left.pop(name))]
        if series:
            shown = UNITS.get((kind, title), title)
            meaning = "; ".join(f"{name}: {text}" for name in found if (text := meaning_of(name)))
            chart = charts.line_chart(
                series, title=shown, x_label="step", x_range=(0, last), zero=zero, meaning=meaning
            )
            drawn.append(chart)
    rest = [name for name in left if name not in UNDRAWN]
    room = max(0, MOST_CHARTS - len(drawn))
    for name in rest[:room]:
        drawn.append(charts.line_chart(_series(name, left[name]), title=name, x_label="step", x_range=(0, last)))
    return drawn, rest[room:]


def _series(name: str, curve: Curve) -> list[Series]:
    """The lines for one curve. A long, noisy curve has two: itself, faint, and its moving average."""
    if len(curve) < 60 or not name.startswith("train/") or name == "train/learning_rate":
        return [Series(name, curve)]
    span = max(5, len(curve) // 30 | 1)
    return [
        Series(name, curve, faint=True),
        Series(f"{name} (mean of {span} points)", charts.smoothed(curve, span)),
    ]


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
