"""The package has layers: a module imports only from lower layers or from its own folder."""

from __future__ import annotations

import ast
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = {
    "child_process": 0, "commands": 0, "credentials": 0, "errors": 0, "formatting": 0, "storage": 0, "fingerprint": 0,
    "hashes": 0, "environment": 0, "terminal": 0, "sandbox": 0, "__init__": 0,
    "fences": 0,
    "recipe": 1, "tracking": 1, "artifacts": 1,
    "crawl": 2, "extract": 2, "clean": 2, "dedup": 2, "docsite": 2, "tokens": 2,
    "model": 2, "train": 2, "evaluate": 2, "align": 2, "generate": 2, "serve": 2,
    "stages": 3, "runner": 4, "report": 4, "cli": 5, "__main__": 6,
}  # fmt: skip
WITHIN_A_LAYER = {
    "tracking": {"artifacts", "recipe"},
    "model": {"tokens"},
    "generate": {"tokens", "model"},
    "train": {"tokens", "model"},
    "align": {"tokens", "model", "generate", "train"},
    "evaluate": {"tokens", "model", "generate", "train", "align"},
    "serve": {"tokens", "model", "generate", "train", "evaluate", "align"},
}
TEXT_FOLDERS = {"crawl", "extract", "clean", "dedup", "docsite", "tokens"}
PACKAGE = Path(__file__).parents[1] / "platform" / "bessemer"


def imports() -> Iterator[tuple[str, str, str]]:
    """(file, folder, imported module) for every import statement of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((str(path), folder, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                if node.module == "bessemer":
                    yield from ((str(path), folder, f"bessemer.{alias.name}") for alias in node.names)
                else:
                    yield str(path), folder, node.module


def test_a_module_imports_from_lower_layers_or_its_own_folder() -> None:
    offenders = []
    for file, folder, module in imports():
        parts = module.split(".")
        if parts[0] != "bessemer" or len(parts) < 2 or parts[1] == folder or parts[1].startswith("__"):
            continue
        target = parts[1]
        lower = LAYERS[target] < LAYERS[folder]
        sibling = LAYERS[folder] == LAYERS[target] == 0
        allowed = target in WITHIN_A_LAYER.get(folder, set())
        if not (lower or sibling or allowed):
            offenders.append(f"{file}: {folder} imports {module}")
    assert not offenders, "\n".join(offenders)


def test_ray_and_mlflow_have_their_places() -> None:
    """Only tracking imports mlflow. Only stages and runner import ray. Folders that process text do not import
    torch."""
    offenders = []
    for file, folder, module in imports():
        top = module.split(".")[0]
        if (
            (top == "mlflow" and folder != "tracking")
            or (top == "ray" and folder not in ("stages", "runner"))
            or (top == "torch" and folder in TEXT_FOLDERS)
        ):
            offenders.append(f"{file}: {folder} imports {module}")
    assert not offenders, "\n".join(offenders)


def test_the_source_root_never_shadows_the_standard_library() -> None:
    """`platform/__init__.py` would replace the module `platform`, on which ray, torch and uuid depend."""
    assert platform.__spec__ is not None
    assert platform.__spec__.origin is not None
    assert platform.__spec__.origin.endswith("platform.py")
    assert not (PACKAGE.parent / "__init__.py").exists()
    assert not (PACKAGE.parent / "conftest.py").exists()


@pytest.mark.parametrize("module", ["ray", "torch", "mlflow", "trafilatura", "transformers"])
def test_a_plan_imports_nothing_heavy(module: str) -> None:
    """Loading the settings of all stages does not import heavy libraries, so `plan` is fast."""
    code = (
        "import sys\nfrom bessemer import stages\nfrom bessemer.runner import plan\n"
        "[stages.load(kind) for kind in stages.kinds()]\n"
        f"sys.exit('{module}' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, f"a stage imports {module} early"
