"""Prose lint: finds sentences that a native-speaking engineer has to read twice.

    python -m tests.plain_english              the rate of every path in `LIMITS`, and the findings of those above it
    python -m tests.plain_english PATH ...     every finding in these files and folders

It reads docstrings, the strings below fields, comments, and the messages of errors, hints and help texts in Python, and
Markdown outside code. Each rule is a pattern for a construction that marks indirect or archaic English. The measure is
findings per 1 000 words. The limits are low, not zero: a construction that is right in its place may stay. Rewrite the
whole sentence, subject first and in the field's terms; do not only swap the word. The check takes a few seconds.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LIMITS = {"platform": 1.0, "README.md": 1.0, "docs": 1.0, "pipelines": 1.0, "CONTRIBUTING.md": 1.0, "tests": 2.0}
"""Findings per 1 000 words that are allowed in each path."""
SKIPPED = {"__pycache__", "golden"}
STRING_OR_COMMENT = re.compile(r"""(\"{3}|'{3}|"|')(?s:\\.|.)*?\1|#(?P<comment>.*)""")
"""Finds comments by skipping strings. It takes a tenth of the time of `tokenize`."""


@dataclass(frozen=True)
class Rule:
    """A construction to avoid."""

    name: str
    pattern: re.Pattern[str]
    advice: str


@dataclass(frozen=True)
class Finding:
    """A place where a rule matches."""

    file: Path
    line: int
    rule: Rule
    excerpt: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule.name}: ...{self.excerpt}... (write: {self.rule.advice})"


def _rule(name: str, pattern: str, advice: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), advice)


RULES = [
    _rule(
        "clause that opens with `what`",
        r"(?:^|[.;:,(]\s+|\b(?:of|with|for|by|to|from|in|on|and|that)\s+)what\s+(?!is\s+(?:this|it)\b)\w+",
        "name the thing, e.g. 'the files that ...'",
    ),
    _rule(
        "`whatever` or `nobody` as an actor",
        r"\b(?:whatever|whoever|whichever|(?:no|some|every)body(?:'s)?)\b",
        "name the thing or the user",
    ),
    _rule(
        "`stands` for `is`",
        r"\bstands?\b(?! (?:still|alone|in for|up|out)\b)",
        "'is', 'appears', 'is listed'",
    ),
    _rule(
        "`tells` for `reports`",
        r"\b(?:is|are|was|be|been|it)\s+told\b|\btold of\b|\btells? (?:that|which|what|it|of)\b",
        "'reports', 'logs', 'warns', 'shows'",
    ),
    _rule(
        "`is no` for `is not a`",
        r"\b(?:is|are|was|were)\s+no\s+"
        r"(?!longer|more|less|fewer|worse|better|different|such|need|way|reason|guarantee)\w+",
        "'is not a ...', 'without ...'",
    ),
    _rule(
        "`a` for `per`",
        r"\b(?:one|once|two|rows?|bytes?|steps?|tokens?|files?|actors?|verdicts?|seconds?|times?)\s+a\s+(?:step|row|"
        r"second|document|unit|worker|line|part|block|node|GPU|CPU|core|stage|run|batch|token|minute|hour|file|shard|"
        r"process|parameter|group|prompt|question|language|page|host|trial)\b",
        "'per'",
    ),
    _rule(
        "`of its own`",
        r"\bof (?:one's|the user's|its|their|your|his) own\b|\bas (?:it|they) (?:is|are|was|were) there\b",
        "'your own ...', 'custom', 'existing'",
    ),
    _rule("`beside` for `next to`", r"\bbesides?\b", "'next to', 'along with', 'in addition to'"),
    _rule("`is worth`", r"\b(?:is|are|be) worth (?!it|noting|the)\w+", "say what it gains"),
    _rule(
        "archaic word",
        r"\b(?:henceforth|therein|thereof|whereof|thus far|hitherto|wherever it|lest|bade|forthwith|wherein|thereby|"
        r"anew|in vain|at once are)\b",
        "the everyday word",
    ),
    _rule("`so many` for a number", r"\bso many\b|\bthat many\b", "'N', 'the given number of'"),
    _rule("`goes on` for `continues`", r"\bg(?:oes|o|oing) on\b", "'continues'"),
    _rule(
        "`where` for `if`",
        r"\bwhere (?:there (?:is|are)|it (?:is|has|was)|they (?:are|were|have)|none|one|that|nothing|"
        r"a \w+ (?:is|has))\b",
        "'if'",
    ),
    _rule(
        "`is to` and a verb",
        r"\b(?:is|are|was|were) to (?:be|see|hold|make|come|go|have|learn|know|read|stay)\b",
        "'must', 'should', 'will'",
    ),
    _rule(
        "preposition at the end of a clause",
        r"\b(?:that|which|who) \w+(?: \w+)? (?:from|by|with|of|at|to)[.;,]",
        "subject, verb, object",
    ),
    _rule(
        "inverted negation",
        r"\b(?:nor|neither) (?:is|are|does|do|was|has)\b|\bnot a (?:word|line|byte) of\b",
        "plain negation",
    ),
    _rule(
        "`of it is made`",
        r"\bof (?:it|them|which|these|those) (?:is|are|has|have|come|comes|makes?)\b",
        "active voice, subject first",
    ),
]


def main() -> int:
    """Returns 1 if a path of `LIMITS` is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders whose findings are listed")
    given = parser.parse_args().paths
    limits = dict.fromkeys(given, 0.0) if given else {Path(name): limit for name, limit in LIMITS.items()}
    failed = False
    for path, limit in limits.items():
        words, found = measure(path)
        rate = 1000 * len(found) / max(1, words)
        above = rate > limit or bool(given)
        print(*found if above else (), sep="\n", end="\n" if above and found else "")
        wanted = "" if given else f", at most {limit}"
        print(f"{path}: {rate:.1f} findings per 1 000 words{wanted} ({len(found)} in {words} words)")
        failed |= above and not given
    return int(failed)


def measure(path: Path) -> tuple[int, list[Finding]]:
    """The number of words and the findings of a file, or of all Python and Markdown files in a folder."""
    words, found = 0, []
    for file in _files(path):
        for line, text in passages(file):
            words += len(re.findall(r"[A-Za-z]{2,}", text))
            found += [Finding(file, line + newlines, *rest) for newlines, *rest in matches(text)]
    return words, found


def matches(text: str) -> Iterator[tuple[int, Rule, str]]:
    """The number of line breaks before each match, the rule, and the words around the match."""
    for rule in RULES:
        for match in rule.pattern.finditer(text):
            around = " ".join(text[max(0, match.start() - 30) : match.end() + 30].split())
            yield text.count("\n", 0, match.start()), rule, around


def passages(file: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of every passage of prose, without inline code."""
    source = file.read_text(encoding="utf-8")
    found = [(1, _outside_blocks(source))] if file.suffix == ".md" else _python_passages(source)
    for line, text in found:
        yield line, re.sub(r"`[^`\n]*`", "", text)


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else [*path.rglob("*.py"), *path.rglob("*.md")]
    return sorted(file for file in found if not SKIPPED & set(file.parts))


def _outside_blocks(markdown: str) -> str:
    """Markdown without fenced and indented code; the line breaks stay."""
    blocks = re.compile(r"^(```|~~~).*?^\1|^(?: {4}|\t).*?$", re.MULTILINE | re.DOTALL)
    return blocks.sub(lambda match: "\n" * match.group().count("\n"), markdown)


def _python_passages(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str(text))):  # docstrings, and the strings below fields
                yield node.lineno, text
            case ast.keyword(arg="hint" | "help", value=value):
                yield from _messages([value])
            case ast.Raise(exc=ast.Call(args=arguments)):
                yield from _messages(arguments)
    line, start = 1, 0
    for token in STRING_OR_COMMENT.finditer(source):
        if comment := token["comment"]:
            line, start = line + source.count("\n", start, token.start()), token.start()
            yield line, comment.lstrip("# ")


def _messages(nodes: Iterable[ast.expr]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value:
                yield part.lineno, part.value


if __name__ == "__main__":
    sys.exit(main())
