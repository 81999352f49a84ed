"""Report section on time and cost: of this run, and of all stages including reused ones."""

from __future__ import annotations

from markupsafe import Markup

from bessemer.formatting import format_seconds
from bessemer.report.facts import Facts
from bessemer.report.html import render
from bessemer.tracking.records import StageRecord

_UNKNOWN = "n/a"
_TEMPLATE = """
{{ table([("", ""), ("time", "n"), ("cost", "n")], rows) }}
{% if unknown %}
<p class="quiet">Set <code>cost.price_per_hour</code> or <code>cost.prices</code> in the recipe to see the cost.</p>
{% endif %}
"""


def cost(facts: Facts) -> Markup:
    price, currency = facts.price_per_hour, facts.currency
    key = f"cost/{currency}"

    def money(seconds: float, stages: list[StageRecord]) -> str:
        costs = [stage.manifest["metrics"].get(key) for stage in stages]
        known = [cost for cost in costs if cost is not None]
        if price is not None:
            return f"{seconds / 3600 * price:.2f} {currency}"
        return f"{sum(known):.2f} {currency}" if known and len(known) == len(costs) else _UNKNOWN

    made = facts.finished
    own = [stage for stage in made if stage.state != "reused"]
    everything = sum(stage.manifest["seconds"] for stage in made)
    whole = money(everything, made)
    rows = [
        ["work of this run", format_seconds(facts.seconds), money(facts.seconds, own)],
        ["all stages, reused ones included", format_seconds(everything), whole],
    ]
    return render(_TEMPLATE, rows=rows, unknown=whole == _UNKNOWN)
