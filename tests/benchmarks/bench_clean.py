"""Documents cleaned per second on one core: each rule, the four presets, and FineWeb's rules compared with datatrove.

    python tests/benchmarks/bench_clean.py [--peer PYTHON] [--json]

PYTHON is the interpreter of an environment with `datatrove` and `spacy`; without it the peer's column is empty. The
documents are the chapters of the Python reference manual in every interpreter (`pydoc_data.topics`), cut into pieces of
four kilobytes. Each batch is processed several times, and its best processor time counts, so the load of the machine
has little effect.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

DOCUMENT_CHARACTERS = 4096
BATCH = 60
ROUNDS = 25

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from importlib.metadata import version
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.utils.text import split_into_words
texts = json.load(sys.stdin)
split_into_words("start")
filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
# every filter sees every document, as ours do, so that both do the same work
best = [1e9] * len(texts)
for _ in range(4):
    for index, text in enumerate(texts):
        start = time.process_time()
        document = Document(text=text, id="0")
        for one in filters:
            one.filter(document)
        best[index] = min(best[index], time.process_time() - start)
versions = {name: version(name) for name in ("datatrove", "spacy")}
print(json.dumps({"rate": len(texts) / sum(best), "versions": versions}))
"""


def documents() -> list[str]:
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    return [text[start : start + DOCUMENT_CHARACTERS] for start in range(0, len(text), DOCUMENT_CHARACTERS)][:-1]


def best_seconds(work: Callable[[], Any]) -> float:
    """Processor time of the best round."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        rounds.append(time.process_time() - start)
    return min(rounds)


def measure(texts: list[str]) -> dict[str, float]:
    """Name -> documents per second."""
    import pyarrow as pa

    from bessemer.artifacts.documents import SCHEMA
    from bessemer.clean.documents import clean_documents
    from bessemer.clean.presets import FINEWEB
    from bessemer.clean.settings import CleanSettings
    from bessemer.fingerprint import content_hash, origin_id

    columns = {
        "text": texts,
        "content_hash": map(content_hash, texts),
        "id": map(origin_id, map(str, range(len(texts)))),
    }
    constants = {"url": "file:x", "source": "bench", "language": "en", "split": "train", "metadata": "{}"}
    rows = [dict(zip(columns, values, strict=True)) | constants for values in zip(*columns.values(), strict=True)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    presets = ["gopher_repetition", "gopher_quality", "c4", "fineweb_quality"]
    recipes: dict[str, list[Any]] = {"four presets": presets, "all of FineWeb's rules": list(FINEWEB)}
    recipes |= {f"{rule.rule} alone": [rule] for rule in FINEWEB}
    rates = {}
    for name, rules in recipes.items():
        settings = CleanSettings(rules=tuple(rules))
        batches = [table.slice(start, BATCH) for start in range(0, len(table), BATCH)]
        seconds = [best_seconds(partial(clean_documents, batch, settings)) for batch in batches]
        rates[name] = len(texts) / sum(seconds)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="an interpreter that has datatrove and spacy")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    options = parser.parse_args()
    texts = documents()
    rates = measure(texts)
    peer = {"rate": None, "versions": {}}
    if options.peer:
        sent = json.dumps(texts)
        printed = subprocess.run([options.peer, "-c", PEER], input=sent, check=True, capture_output=True, text=True)
        peer = json.loads(printed.stdout.splitlines()[-1])
    if options.json:
        print(json.dumps({"documents_per_second": rates, "peer": peer}))
        return
    print(f"{len(texts)} documents of {DOCUMENT_CHARACTERS} characters, one core, Python {platform.python_version()}")
    for name, rate in rates.items():
        print(f"{name:32} {rate:10,.0f} documents/s")
    if peer["rate"]:
        versions = " ".join(f"{name} {version}" for name, version in peer["versions"].items())
        ratio = rates["four presets"] / peer["rate"]
        print(f"{'four presets, ' + versions:32} {peer['rate']:10,.0f} documents/s; ours is {ratio:.1f} times that")


if __name__ == "__main__":
    sys.exit(main())
