"""Writes `rouge_vectors.json`: the results of Google's `rouge_score` for some pairs of texts and its test files.

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install rouge-score==0.1.2
    /tmp/oracle/bin/python tests/evaluate/make_rouge_vectors.py MT_METRICS

MT_METRICS is the folder of the dataset `mt_metrics`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

NAMES = ("rouge1", "rouge2", "rougeL")
PAIRS = [
    ("the cat sat on the mat", "the cat was on the mat"),
    ("A queue holds items until somebody takes them.", "Items stay in a queue until they're taken"),
    ("one two three four five", "five four three two one"),
    ("x", "x"),
    ("", "something"),
    ("Naïve café — 日本", "naive cafe"),
    ("the the the the", "the cat the dog"),
    ("snake_case words-and-hyphens, 3.14!", "snake case words and hyphens 3 14"),
]


def main() -> None:
    folder = Path(sys.argv[1], "rouge")
    scorer = RougeScorer(NAMES)

    def scores(target: str, prediction: str) -> list[float]:
        found = scorer.score(target, prediction)
        return [found[name].fmeasure for name in NAMES]

    targets, predictions = (
        (folder / f"{name}_large.txt").read_text(encoding="utf-8").splitlines() for name in ("target", "prediction")
    )
    each = [scores(*pair) for pair in zip(targets, predictions, strict=True)]
    vectors = {
        "pairs": [[answer, reference, *scores(reference, answer)] for answer, reference in PAIRS],
        "files": [sum(column) / len(each) for column in zip(*each, strict=True)],
    }
    path = Path(__file__).with_name("rouge_vectors.json")
    path.write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
