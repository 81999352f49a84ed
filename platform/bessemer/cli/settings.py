"""describe, schema: the settings of stages and recipes, for people and for editors."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from bessemer.cli.common import JSON, print_json, print_table, print_text

if TYPE_CHECKING:
    from bessemer.recipe.describe import SettingDescription


@click.command()
@click.argument("name", required=False, metavar="[STAGE[.SETTING]]")
@JSON
def describe(name: str | None, *, as_json: bool) -> None:
    """Print the settings of a stage with type, default and meaning.

    Without a name, the stages are listed. `pretrain.model` prints one setting with its members, `clean.rules.c4` those
    of one rule, `recipe` the settings outside the stages.
    """
    if name is None:
        _print_stages(as_json=as_json)
        return
    kind, _, path = name.partition(".")
    settings = _settings(kind)
    chosen = [one for one in settings if one.path == path or one.path.startswith(f"{path}." if path else "")]
    if not chosen:
        raise _unknown(path, kind, settings)
    if as_json:
        print_json([dataclasses.asdict(one) for one in chosen])
        return
    if not path:
        print_text(f"{_title(kind)}\n")
    hidden = [] if "." in path else [one for one in chosen if one.alternative]
    for one in chosen:
        if not (hidden and one.alternative):
            print_text(formatted(one))
    kinds = [one for one in hidden if one.path.count(".") == 1]
    if kinds:
        rows = [[f"bessemer describe {kind}.{one.path}", one.description] for one in kinds]
        print_table(["command", "description"], rows)


@click.command()
def schema() -> None:
    """Print the JSON schema of recipes, for completion and checks in an editor.

    VS Code: write it to a file, and name that file in the first line of a recipe: `# yaml-language-server:
    $schema=recipe.schema.json`.
    """
    from bessemer import stages
    from bessemer.recipe.recipe import Recipe
    from bessemer.recipe.schema import recipe_schema

    print_json(recipe_schema(Recipe, {kind: stages.load(kind).config for kind in stages.kinds()}))


def formatted(setting: SettingDescription) -> str:
    """One setting as a line with type and default, and an indented description."""
    default = "must be set" if setting.default is None else f"default {setting.default or 'empty'}"
    facts = [setting.type, default] + ([] if setting.changes_result else ["does not change the result"])
    width = min(100, shutil.get_terminal_size().columns)
    text = textwrap.fill(setting.description, width, initial_indent="    ", subsequent_indent="    ")
    return f"{setting.path}: {'; '.join(facts)}\n{text}\n"


def _settings(kind: str) -> list[SettingDescription]:
    from bessemer import stages
    from bessemer.errors import UsageError
    from bessemer.recipe.describe import describe_settings
    from bessemer.recipe.problems import nearest
    from bessemer.recipe.recipe import Recipe

    if kind == "recipe":
        return describe_settings(Recipe)
    try:
        return describe_settings(stages.load(kind).config)
    except KeyError:
        raise UsageError(f"no stage is called `{kind}`", hint=nearest(kind, stages.kinds())) from None


def _print_stages(*, as_json: bool) -> None:
    from bessemer import stages

    loaded = [stages.load(kind) for kind in stages.kinds()]
    if as_json:
        print_json(
            [
                {
                    "stage": one.kind,
                    "consumes": [each.kind for each in one.inputs if each.required],
                    "optional": [each.kind for each in one.inputs if not each.required],
                    "produces": one.produces,
                    "description": stages.title(one.kind),
                }
                for one in loaded
            ]
        )
        return
    print_table(["stage", "produces", "description"], [[s.kind, s.produces, stages.title(s.kind)] for s in loaded])


def _title(kind: str) -> str:
    from bessemer import stages

    return "recipe: the settings outside the stages" if kind == "recipe" else f"{kind}: {stages.title(kind)}"


def _unknown(path: str, kind: str, settings: list[SettingDescription]) -> Exception:
    from bessemer.errors import UsageError
    from bessemer.recipe.problems import nearest

    return UsageError(f"`{kind}` has no setting `{path}`", hint=nearest(path, [one.path for one in settings]))
