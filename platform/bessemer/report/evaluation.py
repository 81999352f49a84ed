"""Report sections on evaluations: scores, differences between models, and samples of the models' output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bessemer.formatting import format_number
from bessemer.report import charts
from bessemer.report.charts import Interval
from bessemer.report.facts import Facts
from bessemer.report.markup import Content, Html, element, markup, table
from bessemer.report.page import fold, section
from bessemer.report.privacy import masked
from bessemer.report.risks import risk_charts
from bessemer.report.scores import CLEAN, CONTAMINATED, LONGEST, Evaluation, Sample, Score

MOST_SAMPLES = 8
MOST_CONTAMINATED = 20
_VERDICTS = {True: "larger than noise", False: "within noise"}
EXAMPLES = 2
"""Number of best answers, and of worst answers, shown per task."""


def scores(facts: Facts) -> Html | None:
    """The section on scores, with one part per evaluation."""
    found = facts.evaluations
    return section(
        "scores",
        "Scores",
        ((element("h3", one.name) if len(found) > 1 else None, _scores(one)) for one in found),
    )


def _scores(evaluation: Evaluation) -> Html:
    whole = [s for s in evaluation.scores if s.group is None and s.metric != CONTAMINATED]
    parts = [s for s in evaluation.scores if s.group not in (None, CLEAN)]
    several = len(evaluation.models) > 1
    judged = [
        Interval(f"{s.task} {s.metric}" + (f", {s.model}" if several else ""), s.value, s.standard_error, s.chance)
        for of_models in _side_by_side(whole).values()
        for s in of_models.values()
        if s.chance is not None
    ]
    return markup(
        element("p", "Bars span 1.96 standard errors to each side. The dashed mark is the score of random guessing.")
        if judged
        else None,
        charts.interval_chart(judged) if judged else None,
        _score_table(whole, evaluation),
        _contaminated(evaluation),
        risk_charts(evaluation),
        fold("By group", _score_table(parts, evaluation)) if parts else None,
        _comparisons(evaluation.comparisons),
    )


def _side_by_side(found: Sequence[Score]) -> dict[tuple[str, str, str | None], dict[str, Score]]:
    """Groups scores by (task, metric, group), then by model."""
    rows: dict[tuple[str, str, str | None], dict[str, Score]] = {}
    for score in found:
        rows.setdefault((score.task, score.metric, score.group), {})[score.model] = score
    return rows


def _score_table(found: Sequence[Score], evaluation: Evaluation) -> Html:
    """One row per task, metric and group; one column per model. Leaves out empty columns."""
    rows, last = _side_by_side(found), evaluation.models[-1]
    others = {(s.task, s.metric, s.group): s for s in evaluation.scores if s.model == last}
    several = len(evaluation.models) > 1
    columns: list[tuple[str, list[str]]] = [
        ("task", [task for task, _, _ in rows]),
        ("metric", [metric for _, metric, _ in rows]),
        ("group", [group or "" for _, _, group in rows]),
        *(
            (model if several else "value", [_value(r.get(model)) for r in rows.values()])
            for model in evaluation.models
        ),
        ("chance", [f"{s.chance:.4g}" if s.chance is not None else "" for s in map(_newest, rows.values())]),
        ("n", [f"{_newest(of_models).n:,}" for of_models in rows.values()]),
    ]
    if not any(group for _, _, group in rows):
        shares = [others.get((task, CONTAMINATED, None)) for task, _, _ in rows]
        cleans = [others.get((task, metric, CLEAN)) for task, metric, _ in rows]
        of_last = f" ({last})" if several else ""
        columns.append(("contaminated", [f"{share.value:.1%}" if share else "" for share in shares]))
        columns.append((f"clean items only{of_last}", [f"{_value(o)} (n = {o.n:,})" if o else "" for o in cleans]))
    shown = [(name, cells) for name, cells in columns if any(cells)]
    texts = sum(name in ("task", "metric", "group") for name, _ in shown)
    body = zip(*(cells for _, cells in shown), strict=True)
    return table([name for name, _ in shown], body, numeric=range(texts, len(shown)))


def _newest(of_models: dict[str, Score]) -> Score:
    return list(of_models.values())[-1]


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return format_number(score.value) + (f" ± {score.standard_error:.2g}" if score.standard_error is not None else "")


def _contaminated(evaluation: Evaluation) -> Html | None:
    """The evaluation items that occur in a training document, with that document."""
    found = evaluation.contaminated
    if not found:
        return None
    rows = [
        [row["task"], row["id"], f"{row['overlap']:.0%}", row["ngram_size"], row["split"], row["url"]]
        for row in found[:MOST_CONTAMINATED]
    ]
    header = ["task", "item", "words seen", "n-gram", "split", "document with the largest overlap"]
    more = len(found) - len(rows)
    return fold(
        f"Contaminated items ({len(found):,})",
        table(header, rows, numeric=[2, 3]),
        element("p", f"and {more:,} more in contamination.parquet", class_="quiet") if more else None,
    )


def _comparisons(found: Sequence[dict[str, Any]]) -> Html | None:
    if not found:
        return None
    rows = [
        [
            c["task"],
            c["metric"],
            element("span", f"{c['model_b']} − {c['model_a']}", class_="whole"),
            f"{c['difference']:+.3g}",
            f"{c['low']:+.3g} … {c['high']:+.3g}",
            f"{c['win_rate']:.1%}",
            f"{c['p']:.2g}",
            element("b" if c["larger_than_noise"] else "span", _VERDICTS[c["larger_than_noise"]], class_="whole"),
        ]
        for c in found
    ]
    header = ["task", "metric", "models", "difference", "95 % interval", "items won", "p", ""]
    first = found[0]
    return markup(
        element("h3", "Differences between models"),
        element(
            "p",
            "All models answered the same items. The intervals come from a paired bootstrap of "
            f"{first['num_resamples']:,} draws with seed {first['seed']}, p from random swaps of the two models' "
            "answers. Of the differences called larger than noise, at most 5 % are expected to be noise.",
        ),
        table(header, rows, numeric=[3, 4, 5, 6]),
    )


def samples(facts: Facts) -> Html | None:
    """The section on the models' output: continuations of prompts, then good and bad answers of each task."""
    parts: list[Content] = []
    for evaluation in facts.evaluations:
        parts += [_sample(sample) for sample in evaluation.samples(MOST_SAMPLES)]
        parts += _answers(evaluation)
    return section("samples", "Samples", parts)


def _sample(sample: Sample) -> Html:
    alone = len(sample.completions) == 1
    written = element("span", next(iter(sample.completions.values()))) if alone else None
    return element(
        "div",
        element("p", element("span", sample.prompt, class_="prompt"), written, class_="sample"),
        None if alone else [_quoted(f"{model}: ", text) for model, text in sample.completions.items()],
        _quoted("in the document: ", sample.reference) if sample.reference else None,
        class_="example",
    )


def _quoted(who: str, text: str) -> Html:
    return element("blockquote", element("b", who), text)


def _answers(evaluation: Evaluation) -> Iterator[Html]:
    """The best and the worst answers of the last model per task, with the other models' answers to the same items."""
    whole = [score for score in evaluation.scores if score.group is None and score.model == evaluation.models[-1]]
    for task in dict.fromkeys(score.task for score in whole):
        items = {model: evaluation.items(model, task) for model in evaluation.models}
        last = items[evaluation.models[-1]]
        metric = next((s.metric for s in whole if s.task == task and last and s.metric in last[0]), None)
        if metric is None or "query" not in last[0]:
            continue
        order = sorted(range(len(last)), key=lambda place: -(last[place][metric] or 0.0))
        chosen = list(dict.fromkeys([*order[:EXAMPLES], *order[-EXAMPLES:]]))
        shown = [
            _answer(metric, last[place], {m: rows[place] for m, rows in items.items() if len(rows) == len(last)})
            for place in chosen
        ]
        yield fold(f"Answers of {task}: the best and the worst by {metric}", *shown)


def _answer(metric: str, asked: dict[str, Any], answers: dict[str, dict[str, Any]]) -> Html:
    wanted, *given = masked([text[:LONGEST] for text in (_wanted(asked), *(_given(row) for row in answers.values()))])
    (query,) = masked([asked["query"][-LONGEST:]])
    return element(
        "div",
        element("p", element("span", query, class_="prompt"), class_="sample"),
        (
            _quoted(f"{model} ({metric} {row[metric]:.3g}): ", text)
            for (model, row), text in zip(answers.items(), given, strict=True)
        ),
        _quoted("wanted: ", wanted),
        class_="example",
    )


def _wanted(row: dict[str, Any]) -> str:
    if "choices" not in row:
        return " | ".join(row["references"])
    gold = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    return " | ".join(row["choices"][number] for number in gold)


def _given(row: dict[str, Any]) -> str:
    if "choices" not in row:
        return str(row["answer"])
    likelihoods = row["log_likelihoods"]
    return str(row["choices"][likelihoods.index(max(likelihoods))])
