"""Mutation testing: changes the code in small ways and lists the changes that no test notices.

    python -m tests.mutate platform/bessemer/train/spikes.py [--tests tests/train/test_spikes.py] [--most 50]

Cosmic Ray makes one change at a time and runs the file's tests: those that mirror it (`tests/x/test_y.py` for `x/y.py`)
or, if there are none, all tests of its folder. It works in a copy of the tracked files and changes no other files. Each
change costs one run of the tests, so a file takes minutes and a folder takes hours. `--most` draws a sample.

Survivors are either equivalent to the code (a larger buffer) or show a missing test.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

PACKAGE = Path("platform/bessemer")
TIMEOUT_SECONDS = 300
SURVIVES_ALWAYS = ["core/ReplaceBinaryOperator_BitOr_.*", "core/ZeroIterationForLoop"]
"""Operators that only change annotations (`X | None`), or that repeat another one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files or folders of the package")
    parser.add_argument("--tests", nargs="+", help="test files to run in place of those that mirror the file")
    parser.add_argument("--most", type=int, help="changes per file, drawn at random with a fixed seed")
    arguments = parser.parse_args()
    found = [file for path in arguments.paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        copy_tracked(Path(folder))
        for file in found:
            if file.name != "__init__.py":
                survivors += mutate(Path(folder), file, arguments.tests or tests_of(file), arguments.most)
    return 1 if survivors else 0


def mutate(folder: Path, file: Path, tests: list[str], most: int | None) -> int:
    """Prints each change of `file`, in the copy `folder`, that `tests` do not notice. Returns their number."""
    config, session = folder / "mutate.toml", folder / "mutate.sqlite"
    session.unlink(missing_ok=True)
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {' '.join(tests)}"
    config.write_text(
        f"""[cosmic-ray]
module-path = "{file}"
timeout = {TIMEOUT_SECONDS}
excluded-modules = []
test-command = "{command}"
distributor.name = "local"
filters.operators-filter.exclude-operators = {SURVIVES_ALWAYS}
"""
    )
    run(folder, "cosmic_ray.cli", "baseline", str(config))
    run(folder, "cosmic_ray.cli", "init", str(config), str(session))
    run(folder, "cosmic_ray.tools.filters.operators_filter", str(session), str(config))
    with use_db(session, WorkDB.Mode.open) as db:
        pending = list(db.pending_work_items)
        chosen = random.Random(0).sample(pending, min(most or len(pending), len(pending)))
        for item in pending:
            if item not in chosen:
                db.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED))
    run(folder, "cosmic_ray.cli", "exec", str(config), str(session))
    with use_db(session, WorkDB.Mode.open) as db:
        results = [result for _, result in db.completed_work_items if result.worker_outcome is WorkerOutcome.NORMAL]
    outcomes = Counter(result.test_outcome for result in results)
    for result in results:
        if result.test_outcome is TestOutcome.SURVIVED:
            print(result.diff, flush=True)
    survived = outcomes[TestOutcome.SURVIVED]
    print(f"{file}: {survived} of {outcomes.total()} changes survived {' '.join(tests)}", flush=True)
    return survived


def tests_of(file: Path) -> list[str]:
    """The test file that mirrors `file`, or else the test folder that mirrors its own."""
    inside = file.relative_to(PACKAGE)
    mirror = Path("tests", inside.parts[0], f"test_{inside.stem}.py")
    return [str(mirror if mirror.exists() else mirror.parent)]


def copy_tracked(folder: Path) -> None:
    """Copies the files that git tracks, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)


def run(folder: Path, module: str, *arguments: str) -> None:
    """Runs a Python module in `folder`, with the package of that folder. Raises CalledProcessError if it fails."""
    environment = os.environ | {"PYTHONPATH": str(folder / "platform"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, cwd=folder, env=environment)


if __name__ == "__main__":
    sys.exit(main())
