"""`show`, `explain` and `trace`: look at the documents, at what became of each, and at what learned from it."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bessemer.cli.common import JSON, print_json, print_table, print_text, say, storage_option
from bessemer.formatting import format_number

EXCERPT = 600
"""Characters of a text that are shown without `--full`."""
SKIPPED = ["documents that stay", "although this rule skips limits", "in their language"]
"""The header of the table of rules that do not apply to a language."""


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("stage")
@click.option("--sample", default=5, show_default=True, type=click.IntRange(1), help="How many documents.")
@click.option(
    "--dropped", is_flag=False, flag_value="", metavar="[RULE]", help="Show what was removed, by RULE if given."
)
@click.option("--full", is_flag=True, help="Print texts whole.")
@storage_option
@JSON
def show(run_name: str, stage: str, sample: int, dropped: str | None, full: bool, root: Path, as_json: bool) -> None:
    """Show the output of STAGE: documents, dialogues, scores, ..., or the documents that it dropped. RUN may be
    `@last`."""
    from bessemer.runner import explain
    from bessemer.runner.runs import find
    from bessemer.runner.views import view

    run = find(root, run_name)
    limit = None if full else EXCERPT
    skipped = [
        [str(number), rule, language]
        for rule, languages in explain.abstentions(run, stage).items()
        for language, number in languages.items()
    ]
    if dropped is None:
        found = view(run, stage, sample)
        if as_json:
            print_json(found.raw)
            return
        for item in found.items:
            facts = "  ".join(f"{name}={_cell(value, full)}" for name, value in item.facts.items())
            print_text(facts, bold=True)
            print_text(f"{_excerpt(item.text, limit)}\n" if item.text else "")
        if found.rows:
            print_table(found.header, found.rows)
        if skipped:
            print_table(SKIPPED, skipped)
        return
    examples = list(explain.dropped(run, stage, dropped or None, sample))
    if as_json:
        print_json([{**asdict(chapter), "text": text} for chapter, text in examples])
        return
    rules = explain.removed_by_rule(run, stage)
    if not dropped and rules:
        print_table(
            ["removed", "rule"], [[str(n), rule] for rule, n in sorted(rules.items(), key=lambda item: -item[1])]
        )
        print_text("")
    if not dropped and skipped:
        print_table(SKIPPED, skipped)
        print_text("")
    for chapter, text in examples:
        print_text(f"{chapter.url}  {_reason(chapter)}", bold=True)
        print_text(f"{_excerpt(text, limit)}\n")
    say(f"next: bessemer explain {examples[0][0].id} --run {run.name}" if examples else f"`{stage}` dropped nothing")


@click.command()
@click.argument("url_or_id", metavar="URL-OR-ID")
@click.option("--run", "run_name", help="Only in this run; the newest that knows the document by default.")
@storage_option
@JSON
def explain(url_or_id: str, run_name: str | None, root: Path, as_json: bool) -> None:
    """List the verdict of every stage on one document, with the rule and its measurement."""
    from bessemer.errors import UsageError
    from bessemer.runner import explain
    from bessemer.runner.runs import all_runs, find

    candidates = [find(root, run_name)] if run_name else list(all_runs(root))
    for run in candidates:
        chapters = explain.tell(run, url_or_id)
        if not chapters:
            continue
        if as_json:
            print_json({"run": run.name, "chapters": [asdict(chapter) for chapter in chapters]})
            return
        print_text(f"{chapters[0].url if '://' in chapters[0].url else url_or_id} in {run.name}")
        for chapter in chapters:
            print_text(
                f"  {chapter.stage:<12} {_reason(chapter)}" + (f"  [{chapter.id}]" if chapter.id != url_or_id else "")
            )
            for name, value in chapter.signals.items():
                print_text(f"  {'':<14} {name} = {format_number(value)}")
        return
    raise UsageError(f"no run knows `{url_or_id}`", hint="give a URL as it was crawled, or an id from `bessemer show`")


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option("--step", type=click.IntRange(min=1), help="Name the documents of this step.")
@click.option("--document", metavar="URL-OR-ID", help="Name the steps that saw this document.")
@click.option("--stage", help="Which training, where the recipe has several.")
@storage_option
@JSON
def trace(run_name: str, step: int | None, document: str | None, stage: str | None, root: Path, as_json: bool) -> None:
    """Name the documents that a training step was made of, or the steps that a document was in."""
    from bessemer.errors import UsageError
    from bessemer.runner.runs import find
    from bessemer.runner.tracing import trace as trace_of

    if (step is None) == (document is None):
        raise UsageError("give either `--step` or `--document`", hint="bessemer trace --help")
    run = find(root, run_name)
    found = trace_of(run, stage)
    if step is not None:
        if step > found.num_steps:
            raise UsageError(f"the training has {found.num_steps} steps", hint="steps are counted from 1")
        documents = found.documents_of(step)
        if as_json:
            print_json({"step": step, "documents": documents})
        else:
            print_table(["id", "source", "url"], [[row["id"], row["source"], row["url"]] for row in documents])
            say(f"next: bessemer explain {documents[0]['id']} --run {run.name}")
        return
    assert document is not None
    steps = found.steps_of(document)
    if not steps:
        raise UsageError(
            f"no step of `{run_name}` was trained on `{document}`",
            hint=f"bessemer explain {shlex.quote(document)} --run {run.name} shows whether it was dropped or held out",
        )
    if as_json:
        print_json({"document": document, "steps": steps})
        return
    print_text("\n".join(str(number) for number in steps))
    training = ["--stage", stage] if stage else []
    again = shlex.join(["bessemer", "trace", run_name, *training, "--step", str(steps[0])])
    say(f"{len(steps)} of {found.num_steps} steps; next: {again}")


def _reason(chapter: Any) -> str:
    parts = [chapter.verdict]
    if chapter.rule:
        parts.append(f"by {chapter.rule}")
    if chapter.value is not None:
        limit = f", threshold {format_number(chapter.threshold)}" if chapter.threshold is not None else ""
        parts.append(f"(measured {format_number(chapter.value)}{limit})")
    if chapter.evidence:
        parts.append(f"- {chapter.evidence}")
    return " ".join(parts)


def _cell(value: Any, full: bool) -> str:
    text = str(value)
    return text if full or len(text) <= 80 else text[:77] + "..."


def _excerpt(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]} ... ({len(text)} characters; `--full` prints them all)"
