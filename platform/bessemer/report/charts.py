"""Draws charts as SVG. They need no script, font or download, so they work in a sandboxed frame and in print.

The page's style sheet sets the colours by CSS class, for light and dark mode. Colour alone never carries meaning: each
series has its own dash pattern, the legend shows a sample of each line next to its name, and removed documents are
hatched. The `<title>` of every chart describes its content in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import Markup

from bessemer.formatting import format_count, format_seconds
from bessemer.report.glossary import term
from bessemer.report.scales import Scale, padded_scale, tick_labels, ticks, time_ticks
from bessemer.report.svg import Content, element, join

MOST_POINTS = 500
"""Approximate maximum of points per line. A longer line is cut into stretches that each keep their extremes."""


@dataclass(frozen=True)
class Series:
    """One line of a chart. A `faint` line is pale and has no name in the legend."""

    name: str
    points: Sequence[tuple[float, float]]
    faint: bool = False


@dataclass(frozen=True)
class FunnelRow:
    """Numbers of documents that enter, are created in, leave and are removed by one stage."""

    name: str
    documents_in: int
    created: int
    documents_out: int
    removed: int


@dataclass(frozen=True)
class Interval:
    """A measured value, its standard error, and `chance`, the score of random guessing."""

    name: str
    value: float
    error: float | None
    chance: float | None


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    x_range: tuple[float, float],
    zero: bool = False,
    meaning: str = "",
) -> Markup:
    """Draws lines over training steps. Charts that are compared with each other need the same `x_range`.

    The title shows `meaning` on hover.
    """
    width, height, left, right, top, bottom = 520, 250, 58, 14, 12, 40
    drawn = [s for s in series if any(math.isfinite(y) for _, y in s.points)]
    x = padded_scale(x_range, left, width - right, zero=True)
    y = padded_scale([p for s in drawn for _, p in s.points], height - bottom, top, zero=zero)
    named = [s for s in drawn if not s.faint]
    lines = []
    for s in drawn:
        kind = "line faint" if s.faint else f"line s{named.index(s) + 1}"
        path = _path(s.points, x, y)
        lines.append(element("path", d=path, class_=kind))
    if all(len(s.points) <= 40 for s in named):
        dots = [(named.index(s) + 1, p) for s in named for p in s.points if math.isfinite(p[1])]
        lines += [element("circle", cx=_px(x(a)), cy=_px(y(b)), r=2.6, class_=f"dot s{n}") for n, (a, b) in dots]
    figure = _svg(
        width,
        height,
        _describe(title, drawn),
        _horizontal_grid(y, left, width - right),
        _x_axis(x, height - bottom, x_label),
        lines,
    )
    legend = [element("span", _sample(n + 1), s.name, class_="key") for n, s in enumerate(named)] if named[1:] else None
    return element("figure", element("figcaption", term(title, meaning), legend), figure)


def scaling_chart(
    curve: Sequence[tuple[float, float]],
    fitted: Sequence[tuple[str, float, float]],
    left_out: Sequence[tuple[str, float, float]],
    *,
    y_label: str,
) -> Markup:
    """Draws a scaling law as a line over log10 of compute.

    The `fitted` models are dots, the `left_out` models are rings. A model is (name, log10 of compute, loss).
    """
    width, height, left, right, top, bottom = 760, 330, 64, 90, 14, 46
    x = padded_scale([a for a, _ in curve], left, width - right)
    values = [b for _, b in curve] + [b for _, _, b in (*fitted, *left_out)]
    y = padded_scale(values, height - bottom, top)
    marks = [element("path", d=_path(curve, x, y), class_="line s1")]
    for kind, points in (("dot s1", fitted), ("ring", left_out)):
        for name, a, b in points:
            marks.append(element("circle", cx=_px(x(a)), cy=_px(y(b)), r=5, class_=kind))
            marks.append(element("text", name, x=_px(x(a) + 9), y=_px(y(b) - 7), class_="label"))
    described = "; ".join(f"{name}: {b:.4g} at 10^{a:.2f}" for name, a, b in (*fitted, *left_out))
    figure = _svg(
        width,
        height,
        f"{y_label} by compute: {described}",
        _horizontal_grid(y, left, width - right),
        _x_axis(x, height - bottom, "training compute, log10 of floating-point operations"),
        marks,
    )
    return element("figure", element("figcaption", y_label), figure, class_="wide")


def funnel_chart(rows: Sequence[FunnelRow]) -> Markup:
    """Draws one bar per stage: documents that leave it, then, hatched, documents that it removes."""
    left, right, row_height, bar = _label_width([r.name for r in rows]), 190, 38, 20
    width = _width(left + right)
    largest = max((row.documents_in + row.created for row in rows), default=1) or 1
    x = Scale(0, largest, left, width - right)
    marks = []
    for index, row in enumerate(rows):
        y = index * row_height + 8
        out, end = x(row.documents_out), x(row.documents_out + row.removed)
        marks.append(element("text", row.name, x=left - 10, y=y + 15, text_anchor="end", class_="label"))
        marks.append(element("rect", x=left, y=y, width=_px(out - left), height=bar, rx=2, class_="kept"))
        if row.removed:
            marks.append(element("rect", x=_px(out), y=y, width=_px(max(1, end - out)), height=bar, class_="removed"))
        note = f"{format_count(row.documents_out)} out"
        note += f", {format_count(row.removed)} removed" if row.removed else ""
        marks.append(element("text", note, x=_px(end + 8), y=y + 15, class_="label"))
    title = "Documents of each stage: " + "; ".join(
        f"{r.name}: {r.documents_in} in, {r.created} created, {r.documents_out} out, {r.removed} removed" for r in rows
    )
    return element("figure", _svg(width, len(rows) * row_height + 6, title, _hatching(), marks), class_="wide")


def interval_chart(rows: Sequence[Interval]) -> Markup:
    """Draws each value as a dot, with a bar of 1.96 standard errors to each side and a dashed mark at chance."""
    left, right, row_height = _label_width([r.name for r in rows]), 110, 30
    width = _width(left + right)
    ends = [v + sign * 1.96 * (r.error or 0) for r in rows for v in (r.value,) for sign in (-1, 1)]
    x = padded_scale([*ends, *(r.chance for r in rows if r.chance is not None)], left, width - right, zero=True)
    height = len(rows) * row_height + 34
    marks = []
    for index, row in enumerate(rows):
        y = index * row_height + 18
        marks.append(element("text", row.name, x=left - 12, y=y + 4, text_anchor="end", class_="label"))
        if row.chance is not None:
            at = _px(x(row.chance))
            marks.append(element("line", x1=at, x2=at, y1=y - 11, y2=y + 11, class_="chance"))
        if row.error:
            low, high = x(row.value - 1.96 * row.error), x(row.value + 1.96 * row.error)
            marks.append(element("line", x1=_px(low), x2=_px(high), y1=y, y2=y, class_="error"))
        marks.append(element("circle", cx=_px(x(row.value)), cy=y, r=4.5, class_="dot s1"))
        note = f"{row.value:.3f}" + (f" ± {row.error:.3f}" if row.error else "")
        marks.append(element("text", note, x=width - right + 10, y=y + 4, class_="label"))
    title = "; ".join(
        f"{r.name}: {r.value:.3f}" + (f", chance {r.chance:.3f}" if r.chance is not None else "") for r in rows
    )
    figure = _svg(width, height, title, _vertical_grid(x, 4, height - 28), _x_axis(x, height - 28, ""), marks)
    return element("figure", figure, class_="wide")


def timeline_chart(rows: Sequence[tuple[str, float, float, str]], seconds: float) -> Markup:
    """Draws one bar per row (name, start, end, note). Start and end are in seconds since the start of the run."""
    left, right, row_height, bar = _label_width([name for name, *_ in rows]), 100, 28, 14
    width = _width(left + right)
    x = Scale(0, max(seconds, 1e-9), left, width - right)
    height = len(rows) * row_height + 26
    marks = []
    for index, (name, began, ended, note) in enumerate(rows):
        y = index * row_height + 6
        marks.append(element("text", name, x=left - 10, y=y + 12, text_anchor="end", class_="label"))
        marks.append(element("line", x1=left, x2=width - right, y1=y + 7, y2=y + 7, class_="grid"))
        if ended > began:
            length = max(2.0, x(ended) - x(began))
            marks.append(element("rect", x=_px(x(began)), y=y, width=_px(length), height=bar, rx=2, class_="span"))
        marks.append(element("text", note, x=width - right + 10, y=y + 12, class_="label"))
    middle = {"text_anchor": "middle", "class_": "tick"}
    labels = [
        element("text", format_seconds(tick) if tick else "0", x=_px(x(tick)), y=height - 6, **middle)
        for tick in time_ticks(x, 6)
    ]
    title = "; ".join(f"{name}: {note}" for name, _, _, note in rows)
    return element("figure", _svg(width, height, title, marks, labels), class_="wide")


def lineage_chart(nodes: Sequence[tuple[str, str, str]], edges: Sequence[tuple[int, int]]) -> Markup:
    """Draws nodes (name, kind, note) from top to bottom, with arcs on their left.

    An edge (i, j) is an arc from node i to node j, which was made from node i.
    """
    row_height, middle, second = 34, 120, _label_width([name for name, *_ in nodes]) + 30
    third = second + _label_width([kind for _, kind, _ in nodes]) + 10
    width = _width(middle + third + _label_width([note for *_, note in nodes]), 0)
    marks = []
    for source, target in edges:
        y1, y2 = source * row_height + 17, target * row_height + 17
        reach = min(middle - 10, 18 + 22 * (target - source - 1))
        path = f"M{middle - 7} {y1} C{middle - reach} {y1} {middle - reach} {y2} {middle - 9} {y2}"
        marks.append(element("path", d=path, class_="arc", marker_end="url(#arrow)"))
    for index, (name, kind, note) in enumerate(nodes):
        y = index * row_height + 17
        marks.append(element("circle", cx=middle, cy=y, r=6, class_="dot s1"))
        marks.append(element("text", name, x=middle + 16, y=y + 5, class_="label strong"))
        marks.append(element("text", kind, x=middle + second, y=y + 5, class_="label"))
        marks.append(element("text", note, x=middle + third, y=y + 5, class_="label quiet"))
    arrow = element(
        "marker",
        element("path", d="M0 0 L8 4 L0 8 z", class_="head"),
        id="arrow",
        viewBox="0 0 8 8",
        refX=7,
        refY=4,
        markerWidth=7,
        markerHeight=7,
        orient="auto",
    )
    title = "; ".join(f"{nodes[target][0]} reads {nodes[source][0]}" for source, target in edges)
    return element("figure", _svg(width, len(nodes) * row_height, title, element("defs", arrow), marks), class_="wide")


def smoothed(points: Sequence[tuple[float, float]], span: int) -> list[tuple[float, float]]:
    """Moving average over `span` points, over fewer at both ends. Leaves out NaN and infinite values."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    totals = list(accumulate((y for _, y in finite), initial=0.0))
    result = []
    for index, (x, _) in enumerate(finite):
        first, last = max(0, index - span // 2), min(len(finite), index + span // 2 + 1)
        result.append((x, (totals[last] - totals[first]) / (last - first)))
    return result


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """SVG path data. A NaN or infinite value leaves a gap."""
    pieces, pen = [], "M"
    for a, b in _thinned(points):
        if math.isfinite(b):
            pieces.append(f"{pen}{_px(x(a))} {_px(y(b))}")
            pen = "L"
        else:
            pen = "M"
    return "".join(pieces)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= MOST_POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / MOST_POINTS)
    kept = []
    for first in range(0, len(points), size):
        stretch = points[first : first + size]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return kept


def _svg(width: float, height: float, title: str, *content: Content) -> Markup:
    return element(
        "svg",
        element("title", title),
        *content,
        viewBox=f"0 0 {_px(width)} {_px(height)}",
        role="img",
        preserveAspectRatio="xMinYMin meet",
    )


def _horizontal_grid(y: Scale, left: float, right: float) -> Markup:
    values = ticks(y, 4)
    return join(
        (
            element("line", x1=left, x2=right, y1=_px(y(value)), y2=_px(y(value)), class_="grid"),
            element("text", label, x=left - 8, y=_px(y(value) + 4), text_anchor="end", class_="tick"),
        )
        for value, label in zip(values, tick_labels(values), strict=True)
    )


def _vertical_grid(x: Scale, top: float, bottom: float) -> Markup:
    return join(
        element("line", x1=_px(x(value)), x2=_px(x(value)), y1=top, y2=bottom, class_="grid") for value in ticks(x, 6)
    )


def _x_axis(x: Scale, y: float, label: str) -> Markup:
    values = ticks(x, 6)
    marks = [element("line", x1=x.start, x2=x.end, y1=y, y2=y, class_="axis")]
    for value, text in zip(values, tick_labels(values), strict=True):
        marks.append(element("text", text, x=_px(x(value)), y=y + 16, text_anchor="middle", class_="tick"))
    if label:
        marks.append(element("text", label, x=(x.start + x.end) / 2, y=y + 34, text_anchor="middle", class_="tick"))
    return join(marks)


def _sample(number: int) -> Markup:
    line = element("line", x1=0, x2=26, y1=5, y2=5, class_=f"line s{number}")
    return element("svg", line, viewBox="0 0 26 10", width=26, height=10, aria_hidden="true")


def _hatching() -> Markup:
    line = element("path", d="M-1 1 L1 -1 M0 6 L6 0 M5 7 L7 5", class_="hatch")
    return element("defs", element("pattern", line, id="hatching", width=6, height=6, patternUnits="userSpaceOnUse"))


def _width(around: float, inside: float = 260) -> float:
    """Width of a wide chart whose labels take `around` pixels and whose bars take at least `inside`."""
    return max(680, around + inside)


def _label_width(labels: Sequence[str]) -> float:
    """Width in pixels of the longest label. A character is at most about 8.2 pixels wide in the page's fonts."""
    return max([110.0, *(8.2 * len(label) + 14 for label in labels)])


def _describe(title: str, series: Sequence[Series]) -> str:
    parts = []
    for s in series:
        values = [y for _, y in s.points if math.isfinite(y)]
        if not s.faint and values:
            parts.append(f"{s.name} from {values[0]:.4g} to {values[-1]:.4g}, lowest {min(values):.4g}")
    return f"{title}: " + "; ".join(parts)


def _px(value: float) -> float:
    return round(value, 1)
