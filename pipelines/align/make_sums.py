"""Writes the data of this recipe to `data/`: sums of numbers below 20 with right answers, inexact answers, and pairs.

python pipelines/align/make_sums.py
"""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
MOST = 20
OFF_BY = (0, 1, 1, 2, 2, 2, 3, 3)
"""Errors of the inexact answers. One in eight is right; +2 is the most frequent, so greedy answers are rarely right."""

WRONG_BY = (-3, -2, -1, 1, 2, 3)
"""Errors of the rejected answers. If all were positive, the reward model would learn that smaller is better."""


def main():
    generator = random.Random(0)
    sums = [(a, b) for a in range(MOST) for b in range(MOST)]
    generator.shuffle(sums)
    about = [(a, b, max(0, a + b + generator.choice(OFF_BY))) for a, b in sums for _ in range(20)]
    DATA.mkdir(exist_ok=True)
    write(
        "text.jsonl", ({"text": " ".join(str(first + n) for n in range(12))} for first in range(40) for _ in range(50))
    )
    write("about.jsonl", ({"question": f"{a} + {b}", "answer": str(answer)} for a, b, answer in about))
    write("sums.jsonl", ({"question": f"{a} + {b}", "answer": str(a + b)} for a, b in sums))
    write("pairs.jsonl", (pair(a, b, generator.choice(WRONG_BY)) for a, b in sums for _ in range(18)))


def pair(a, b, wrong_by):
    wrong = a + b + (wrong_by if a + b + wrong_by >= 0 else -wrong_by)
    return {"prompt": f"{a} + {b}", "chosen": str(a + b), "rejected": str(wrong)}


def write(name, rows):
    (DATA / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


if __name__ == "__main__":
    main()
