"""Quality and speed of extracting the main text of real pages, compared with trafilatura alone in the same run.

    python -m tests.benchmarks.bench_extract [--json]

The pages are trafilatura's own benchmark (a third of it: 330 pages in many languages, 150 kB on average). Quality is
the benchmark's measure: segments that must be in the text (`with`) and must not be (`without`), ignoring white space.
The sides alternate page by page and are measured in processor time, so the load of the machine affects both equally.
The better of two rounds counts. Ours does more than `extract`: charset, title, author, date, site, licence, verdicts,
and rendering with intact code blocks.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROUNDS = 2
Side = Callable[[bytes], str]


@dataclass
class Score:
    """Segments found, wrongly found and missed; processor seconds by page."""

    found: int = 0
    wrong: int = 0
    missed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, item: dict[str, Any], text: str) -> None:
        text = one_line(text)
        hits = sum(one_line(segment) in text for segment in item["with"])
        self.found += hits
        self.missed += len(item["with"]) - hits
        self.wrong += sum(one_line(segment) in text for segment in item["without"])

    def figures(self) -> dict[str, float]:
        precision, recall = self.found / (self.found + self.wrong), self.found / (self.found + self.missed)
        return {
            "f": 2 * precision * recall / (precision + recall),
            "precision": precision,
            "recall": recall,
            "pages_per_second": len(self.seconds) / sum(self.seconds.values()),
        }


def one_line(text: str) -> str:
    """The text on one line, without soft hyphens, which ours removes and the gold segments keep."""
    return re.sub(r"\s+", " ", text.replace("\u00ad", "")).strip()


def data_set(name: str) -> Path | None:
    """The unpacked folder of a public data set, None if its archive is absent."""
    shared = Path(os.environ.get("BESSEMER_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (shared / f"{name}.tar.xz").exists():
        return None
    command = [sys.executable, str(shared / "unpack.py"), name]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def sides() -> dict[str, Side]:
    import trafilatura

    from bessemer.artifacts.ledger import Removed
    from bessemer.extract.page import extract_page
    from bessemer.extract.settings import TextSettings

    def bare(**options: Any) -> Side:
        return lambda page: trafilatura.extract(page, include_comments=False, **options) or ""

    def with_metadata(page: bytes) -> str:
        found = trafilatura.bare_extraction(page, include_comments=False, with_metadata=True)
        return (found.text or "") if found else ""

    def ours(**changes: Any) -> Side:
        settings = TextSettings(**changes)

        def extract(page: bytes) -> str:
            try:
                return extract_page(page, "text/html", None, "", settings).text
            except Removed:
                return ""

        return extract

    return {
        "trafilatura, text only": bare(),
        "trafilatura, fast": bare(fast=True),
        "trafilatura, with metadata": with_metadata,
        "ours": ours(),
        "trafilatura, precise": bare(favor_precision=True),
        "ours, precise": ours(favor_precision=True),
    }


def measure(folder: Path) -> dict[str, dict[str, float]]:
    gold = list(json.loads((folder / "evaldata.json").read_text()).values())
    scores = {name: Score() for name in sides()}
    for number in range(ROUNDS):
        for item in gold:
            page = gzip.decompress((folder / "html" / f"{item['file']}.gz").read_bytes())
            for name, extract in sides().items():
                start = time.process_time()
                text = extract(page)
                seconds = time.process_time() - start
                score = scores[name]
                score.seconds[item["file"]] = min(seconds, score.seconds.get(item["file"], seconds))
                if number == 0:
                    score.count(item, text)
    return {name: score.figures() for name, score in scores.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = data_set("html_trafilatura")
    if folder is None:
        print("the data set `html_trafilatura` is not here; set BESSEMER_DATA to the folder that holds its archive")
        return 0
    figures = measure(folder)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    versions = " ".join(f"{name} {version(name)}" for name in ("trafilatura", "lxml"))
    print(f"{versions}, Python {platform.python_version()}, one core of {platform.processor() or platform.machine()}")
    print(f"{'':28} {'F':>7} {'precision':>10} {'recall':>7} {'pages/s':>8}")
    for name, row in figures.items():
        quality = f"{row['f']:7.4f} {row['precision']:10.3f} {row['recall']:7.3f}"
        print(f"{name:28} {quality} {row['pages_per_second']:8.1f}")
    for peer in ("trafilatura, text only", "trafilatura, with metadata"):
        ratio = figures["ours"]["pages_per_second"] / figures[peer]["pages_per_second"]
        print(f"ours / {peer}: {ratio:.2f} times the speed, F {figures['ours']['f'] - figures[peer]['f']:+.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
