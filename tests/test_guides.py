"""The commands of the guides work, block by block, in an empty folder.

A guide is Markdown. Its fenced blocks are run in order:

- `sh` is a shell script that must succeed, or end with the code of `exit=CODE`. `sh not-run` needs something that a
  test does not have; the text of the guide says so.
- A block with `title="FILE"` is written to FILE.
- `text` after a script is its output. `...` stands for any characters, and other lines may come between.
- `yaml` without a title is a part of a recipe, whose settings must exist.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from bessemer import cli, stages
from bessemer.recipe import yaml
from bessemer.recipe.recipe import Recipe
from bessemer.runner.plan import load_recipe

GUIDES = Path(__file__).parents[1] / "docs" / "guides"
SHORT = [["completion.md"], ["troubleshooting.md"]]
"""Guides that run with the tests. Each runs in a folder; the second of a list continues in the folder of the first."""
LONG = [
    ["documents.md", "report.md"],
    ["extending.md"],
    ["training.md"],
    ["assistant.md"],
    ["sweeps.md"],
    ["cluster.md"],
]
"""Guides that train models or start Ray. They run with the drills; the tests check their recipes and commands."""
ALL = sorted(GUIDES.glob("*.md"))
FENCE = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a guide."""

    line: int
    language: str
    options: str
    content: str

    def option(self, name: str) -> str | None:
        found = re.search(rf'{name}="?([^"\s]+)"?', self.options)
        return found[1] if found else None


def blocks(guide: Path) -> Iterator[Block]:
    text = guide.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(line, match["language"], match["options"], match["content"])


@pytest.mark.parametrize("chain", SHORT, ids=" ".join)
def test_the_commands_of_a_guide_work(chain: list[str], tmp_path: Path) -> None:
    for name in chain:
        follow(GUIDES / name, tmp_path)


@pytest.mark.drill
@pytest.mark.parametrize("chain", LONG, ids=" ".join)
def test_the_commands_of_a_long_guide_work(chain: list[str], tmp_path: Path) -> None:
    for name in chain:
        follow(GUIDES / name, tmp_path)


def test_every_guide_is_tested_and_linked_in_the_readme(repository: Path) -> None:
    names = sorted(path.name for path in GUIDES.glob("*.md"))
    assert names == sorted(name for chain in [*SHORT, *LONG] for name in chain)
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"docs/guides/{name}" not in readme] == []


def test_the_readme_is_short_and_names_commands_that_exist(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) <= 900
    assert set(re.findall(r"^    bessemer (\w+)", readme, re.MULTILINE)) <= set(cli.COMMANDS)


def test_links_between_pages_lead_to_files(repository: Path) -> None:
    pages = [*repository.glob("*.md"), *repository.glob("docs/**/*.md"), *repository.glob("pipelines/*/*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(repository)} links to {target}"


@pytest.mark.parametrize("guide", ALL, ids=lambda path: path.name)
def test_settings_in_parts_of_recipes_exist(guide: Path) -> None:
    for block in blocks(guide):
        if block.language != "yaml" or block.option("title"):
            continue
        part = yaml.parse(block.content, guide.name).value
        for name, settings in part.items():
            if name in Recipe.model_fields:
                assert set(settings) <= set(Recipe.model_fields[name].annotation.__args__[0].model_fields), name
                continue
            settings = dict(settings or {})
            kind = settings.pop("stage", name)
            assert kind in stages.kinds(), f"{guide.name}:{block.line}: `{kind}` is not a stage"
            known = stages.load(kind).config.model_fields.keys() | {"from"}
            assert settings.keys() <= known, f"{guide.name}:{block.line}: {settings.keys() - known}"


@pytest.mark.parametrize("guide", ALL, ids=lambda path: path.name)
def test_recipes_in_guides_are_valid(guide: Path, tmp_path: Path) -> None:
    """Leaves out the recipes that a guide runs with a changed package (`python -m bessemer`)."""
    text = guide.read_text(encoding="utf-8")
    for block in blocks(guide):
        if title := block.option("title"):
            write(block, tmp_path / title)
    for recipe in tmp_path.glob("*.yaml"):
        changed = f"python -m bessemer run {recipe.name}" in text
        if "\nstages:" in recipe.read_text(encoding="utf-8") and not changed:
            load_recipe(recipe, [])


@pytest.mark.parametrize("guide", ALL, ids=lambda path: path.name)
def test_commands_in_guides_have_known_options(guide: Path) -> None:
    for line in (line for block in blocks(guide) if block.language == "sh" for line in block.content.splitlines()):
        for command in re.findall(r"(?:^|\| )bessemer ([^|>]+)", line):
            name, *arguments = shlex.split(command, comments=True)
            found = cli.bessemer.get_command(click.Context(cli.bessemer), name)
            assert found is not None, f"{guide.name}: `{name}` is not a command"
            found.make_parser(click.Context(found)).parse_args(arguments)


def follow(guide: Path, folder: Path) -> None:
    """Writes the files and runs the scripts of a guide in `folder`."""
    output = ""
    for block in blocks(guide):
        where = f"{guide.name}:{block.line}"
        if title := block.option("title"):
            write(block, folder / title)
        elif block.language == "sh" and "not-run" not in block.options:
            done = run(block.content, folder)
            output = done.stdout + done.stderr
            assert done.returncode == int(block.option("exit") or 0), f"{where}\n{output}"
            assert "Traceback" not in output, f"{where}\n{output}"
        elif block.language == "text":
            for line in filter(None, block.content.splitlines()):
                pattern = ".*".join(re.escape(part) for part in line.rstrip().split("..."))
                assert re.search(rf"^{pattern}\s*$", output, re.MULTILINE), f"{where}: no line `{line}` in\n{output}"


def write(block: Block, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.content, encoding="utf-8")


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "BESSEMER_"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    command = ["bash", "-c", f"set -euo pipefail\n{script}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
