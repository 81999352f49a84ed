"""The figures of the quickstart (time, memory, pages, tokens, bits per byte, accuracy) and the speed of commands.

    python -m tests.benchmarks.bench_quickstart [--storage-path FOLDER]

Runs the whole quickstart once in an empty folder, then again with all stages reused. Memory is the largest sum of the
processes' proportional set sizes (shared pages counted once), sampled twice per second. The start time of a command is
compared with that of the Python interpreter alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bessemer.formatting import format_bytes, format_count, format_seconds
from bessemer.runner import runs

RECIPE = Path(__file__).parents[2] / "pipelines" / "quickstart" / "recipe.yaml"
BESSEMER = str(Path(sys.executable).with_name("bessemer"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage-path", type=Path)
    root = parser.parse_args().storage_path or Path(tempfile.mkdtemp(prefix="bessemer-bench-"))
    print(
        f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    command = [BESSEMER, "run", str(RECIPE), f"storage_path={root}"]
    seconds, peak = measured(command)
    run = runs.find(root, None)
    manifests = {name: manifest(run, name) for name in run.stages()}
    show("quickstart, wall clock", format_seconds(seconds), "under 9m 00s")
    show("quickstart, peak memory", format_bytes(peak), "under 4 GiB")
    show("pages crawled", format_count(manifests["crawl"]["counts"]["documents_out"]), "at least 500")
    show("tokens trained on", format_count(manifests["pretrain"]["metrics"]["train/tokens"]), "at least 2.00M")
    bits = manifests["pretrain"]["metrics"]["validation/bits_per_byte"]
    show("validation bits per byte", f"{bits:.3f}", "under 2.0")
    for name, value in sorted(manifests["evaluate"]["metrics"].items()):
        show(name, f"{value:.4g}", "acc at least 0.32" if name.endswith("/acc") else "")
    for name, stage in run.stages().items():
        show(f"  stage {name}", format_seconds(stage["seconds"]), "")
    again, _ = measured(command)
    show("everything reused", f"{again:.2f} s", "within 3 s")
    start = fastest([sys.executable, "-c", "pass"])
    for label, arguments, limit in (
        ("bessemer --help", ["--help"], "under 0.2 s"),
        ("bessemer plan", ["plan", str(RECIPE), f"storage_path={root}"], "under 0.6 s"),
    ):
        took = fastest([BESSEMER, *arguments])
        show(label, f"{took:.3f} s", f"{limit}; python alone {start:.3f} s, ratio {took / start:.1f}")


def show(what: str, value: str, target: str) -> None:
    print(f"{what:<52} {value:>12}   {target}".rstrip(), flush=True)


def manifest(run: runs.Run, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.artifact_folder(stage) / "manifest.json").read_text())
    return found


def fastest(command: Sequence[str], times: int = 7) -> float:
    """The median of several runs, in seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measured(command: Sequence[str]) -> tuple[float, int]:
    """Seconds and peak bytes of a command and all its descendants."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            peak[0] = max(peak[0], footprint(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return time.perf_counter() - began, peak[0]


def footprint(pid: int) -> int:
    """Proportional set size of a process and its descendants, in bytes."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


if __name__ == "__main__":
    main()
