"""Report section on the origin of every artifact: which artifacts it was made from, when, and by which run."""

from __future__ import annotations

from markupsafe import Markup

from bessemer.formatting import format_bytes, format_seconds
from bessemer.report import charts
from bessemer.report.facts import Facts, format_time
from bessemer.report.html import render
from bessemer.tracking.records import StageRecord, milliseconds

_TEMPLATE = """
<p>Equal fingerprints mean equal settings and inputs. Equal digests mean equal bytes.</p>
{{ chart }}
{{ table([("artifact of", ""), ("folder", "code"), ("digest", "code"), ("made", ""), ("took", "n")], rows) }}
"""


def lineage(facts: Facts) -> Markup | None:
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
                f"artifacts/{stage.kind}/{stage.fingerprint}",
                manifest["digest"][:12],
                format_time(milliseconds(manifest["created_at"])),
                format_seconds(manifest["seconds"]),
            ]
        )
    if not nodes:
        return None
    return render(_TEMPLATE, chart=charts.lineage_chart(nodes, sorted(edges)), rows=rows)


def _origin(stage: StageRecord) -> str:
    size = format_bytes(sum(file["size"] for file in stage.manifest["files"]))
    return f"{size}, reused" if stage.state == "reused" else f"{size}, made by this run"
