"""Fuzzes the readers of foreign input for a given time, and keeps each finding as a test.

    python -m tests.fuzz --seconds 300 [TARGET]... [--seed N]

Inputs come from two sources in turn: strategies of hypothesis that know the format, and random changes of the bytes of
known inputs (insert, delete, repeat, splice). Each input is checked in a child process with a limit of CPU time, so a
crash or an endless loop is a finding too. A finding is shortened and written to `tests/fuzz/found/TARGET/`, where
`tests/fuzz/test_findings.py` checks it from then on. With `--seed` and `--inputs`, a run is repeatable.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from tests.fuzz.targets import CPU_SECONDS, TARGETS, Target

from bessemer import environment
from bessemer.child_process import ChildEnded, ChildProcess

FOUND = Path(__file__).parent / "found"
BATCH = 50
MAX_BYTES = 200_000
SHORTENING_CHECKS = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all targets together")
    parser.add_argument("--inputs", type=int, help="inputs per target, in place of a time")
    parser.add_argument("--seed", type=int, help="repeats a run; a new one by default")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    names = arguments.targets or list(TARGETS)
    print(f"seed {seed}")
    findings = 0
    for number, name in enumerate(names):
        deadline = time.monotonic() + arguments.seconds / len(names) if arguments.inputs is None else None
        count, found = fuzz(TARGETS[name], seed + number, deadline, arguments.inputs)
        print(f"{name}: {count} inputs, {len(found)} findings")
        for path, reason in found.items():
            print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}: {reason}")
        findings += len(found)
    return 1 if findings else 0


def fuzz(target: Target, seed: int, deadline: float | None, limit: int | None) -> tuple[int, dict[Path, str]]:
    """(number of inputs, the kept findings with their reasons); equal reasons are one finding."""
    found: dict[Path, str] = {}
    count = 0
    with ChildProcess(cpu_seconds=CPU_SECONDS) as child:
        for content in itertools.islice(inputs(target, seed), limit):
            if deadline is not None and time.monotonic() >= deadline:
                break
            count += 1
            reason = failure(child, target, content)
            if reason and reason not in found.values():
                found[keep(target, shortened(child, target, content, reason))] = reason
    return count, found


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """Endless inputs: a batch of the strategy, then a batch of changed bytes. A function of the seed."""
    dice = random.Random(seed)
    corpus = [*target.seeds]
    yield from corpus
    for batch in itertools.count():
        made = drawn(target, seed + batch)
        yield from made
        corpus = [*target.seeds, *made]
        for _ in range(BATCH):
            yield changed(dice, dice.choice(corpus), dice.choice(corpus))


def drawn(target: Target, seed: int) -> list[bytes]:
    """Examples of the target's strategy."""
    examples: list[bytes] = []

    @hypothesis_seed(seed)
    @settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.strategy)
    def collect(content: bytes) -> None:
        examples.append(content[:MAX_BYTES])

    collect()
    return examples


def changed(dice: random.Random, content: bytes, other: bytes) -> bytes:
    """`content` after one to four random changes, some with bytes of `other`."""
    changing = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(changing))
        length = min(dice.choice((1, 2, 4, 16, 64)), len(changing) - at)
        kind = dice.randrange(6)
        if kind == 0:
            changing[at : at + length] = b""
        elif kind == 1:
            changing[at:at] = dice.choice(PIECES)
        elif kind == 2:
            changing[at : at + length] = dice.randbytes(length)
        elif kind == 3:
            changing[at:at] = changing[at : at + length] * dice.choice((1, 10, 1000))
        elif kind == 4:
            begin = dice.randint(0, len(other))
            changing[at:at] = other[begin : begin + dice.choice((4, 32, 256))]
        elif at < len(changing):
            changing[at] ^= 1 << dice.randrange(8)
        del changing[MAX_BYTES:]
    return bytes(changing)


PIECES = [
    *(b"\0", b"\r\n\r\n", b"\n", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80\xae", b"\x1b[31m", b"%", b"\\"),
    *(
        b"<",
        b">",
        b"</",
        b"<!--",
        b"]]>",
        b"&#0;",
        b"&#x110000;",
        b'"',
        b"'",
        b"{",
        b"[",
        b"}",
        b"]",
        b",",
        b": ",
        b"*",
        b"&a",
    ),
    *(
        b"0",
        b"-1",
        b"1e999",
        b"nan",
        b"9" * 20,
        b"9" * 5000,
        b" " * 1000,
        b"\t",
        b"true",
        b"null",
        b"\x1f\x8b\x08",
        b"PAR1",
    ),
]


def failure(child: ChildProcess, target: Target, content: bytes) -> str:
    """Why the check of an input fails: the exception and its place, or the end of the child; empty if it passes."""
    try:
        return child.call(reason_of, target.name, content)
    except ChildEnded as error:
        return str(error)


def reason_of(name: str, content: bytes) -> str:
    """Runs in the child."""
    environment.prepare()
    warnings.simplefilter("ignore")
    try:
        TARGETS[name].check(content)
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is not an Exception
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        return f"{type(error).__name__} at {place}: {str(error)[:120]!a}"
    return ""


def shortened(child: ChildProcess, target: Target, content: bytes, reason: str) -> bytes:
    """A shorter input that fails in the same way, by removing halves, quarters, ... of it."""
    checks = 0
    kind = reason.partition(":")[0]
    size = len(content) // 2
    while size:
        at = 0
        while at < len(content) and checks < SHORTENING_CHECKS:
            shorter = content[:at] + content[at + size :]
            checks += 1
            if failure(child, target, shorter).partition(":")[0] == kind:
                content = shorter
            else:
                at += size
        size //= 2
    return content


def keep(target: Target, content: bytes) -> Path:
    path = FOUND / target.name / f"{hashlib.sha256(content).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
