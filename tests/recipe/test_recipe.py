"""A recipe's problems are shown all at once, each with its place and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import RecipeError
from bessemer.recipe import recipe as recipes
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import Settings, execution, result_settings
from bessemer.stages.base import RecipePath, Stage, StageConfig


class Reader(StageConfig):
    paths: list[RecipePath] = execution([])
    """Where to read."""
    limit: int = 10
    """How many."""


class Trainer(StageConfig):
    class Inner(Settings):
        depth: int = 1
        """How deep."""

    learning_rate: float = 0.1
    """How fast."""
    inner: Inner = Inner()
    """Nested."""
    resume: bool = execution(False)
    """Needs no documents."""


def never(*arguments: Any) -> None:
    raise AssertionError


STAGES = {
    "read": Stage("read", 1, Reader, "documents", never),
    "clean": Stage("clean", 1, StageConfig, "documents", never, inputs=(Input("documents"),)),
    "train": Stage(
        "train",
        1,
        Trainer,
        "model",
        never,
        inputs=(
            Input("documents", needed=lambda config: not config.resume),
            Input("questions", optional=True),
            Input("model", explicit=True),
        ),
    ),
    "compare": Stage("compare", 1, StageConfig, "scores", never, inputs=(Input("model", explicit=True, many=True),)),
    "judge": Stage("judge", 1, StageConfig, "scores", never, inputs=(Input("model", many=True), Input("documents"))),
}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def from_text(text: str, *assignments: str) -> recipes.LoadedRecipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return recipes.load(path, assignments, STAGES.__getitem__, list(STAGES))

    return from_text


def problems(load: Any, text: str, *assignments: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(text, *assignments)
    assert caught.value.exit_code == 2
    return caught.value.message


GOOD = "name: x\nstages:\n  read: {paths: [data]}\n  clean:\n  train: {learning_rate: 1e-3}\n"


def test_stages_take_what_they_consume_from_the_nearest_stage_above(load: Any) -> None:
    loaded = load(GOOD)
    assert loaded.stage("train").sources == {"documents": "clean"}
    assert loaded.stage("train").config.learning_rate == 0.001


def test_from_names_another_stage(load: Any) -> None:
    loaded = load(GOOD.replace("{learning_rate: 1e-3}", "{from: read}"))
    assert loaded.stage("train").sources == {"documents": "read"}


def test_a_named_input_is_taken_only_where_from_names_it(load: Any) -> None:
    """Of two models in one recipe, the second continues the first only if its `from` names the first."""
    ladder = GOOD + "  larger: {stage: train}\n"
    assert load(ladder).stage("larger").sources == {"documents": "clean"}
    further = load(ladder.replace("{stage: train}", "{stage: train, from: train}"))
    assert further.stage("larger").sources == {"documents": "clean", "model": "train"}


def test_what_settings_make_needless_is_not_taken(load: Any) -> None:
    assert load("name: x\nstages:\n  train: {resume: true}\n").stage("train").sources == {}
    assert load(GOOD, "train.resume=true").stage("train").sources == {}, "nor does the result depend on it"


def test_of_some_kinds_any_number_is_taken_each_named(load: Any) -> None:
    ladder = GOOD + "  larger: {stage: train}\n  compare: {from: [train, larger]}\n"
    assert load(ladder).stage("compare").sources == {"model/train": "train", "model/larger": "larger"}
    said = problems(load, ladder.replace("{from: [train, larger]}", ""))
    assert "`compare` needs `from`, a list of the stages whose model it takes" in said
    assert "from: [train, larger]" in said
    assert "`compare` does not consume documents" in problems(load, ladder.replace("[train, larger]", "[clean]"))


def test_of_a_kind_that_is_consumed_too_the_newest_is_taken_unless_others_are_named(load: Any) -> None:
    ladder = GOOD + "  larger: {stage: train}\n  judge: {from: [larger, train]}\n"
    named = load(ladder)
    assert list(named.stage("judge").sources.items()) == [
        ("model/larger", "larger"), ("model/train", "train"), ("documents", "clean"),
    ]  # fmt: skip
    assert named.resolved()["stages"]["judge"]["from"] == ["larger", "train", "clean"]
    newest = load(ladder.replace("{from: [larger, train]}", "{from: read}"))
    assert newest.stage("judge").sources == {"documents": "read", "model/larger": "larger"}
    assert "`judge` needs model" in problems(load, "name: x\nstages:\n  read:\n  judge:\n")


def test_a_stage_may_have_another_name_than_its_kind(load: Any) -> None:
    assert load(GOOD + "  small: {stage: train}\n").stage("small").kind == "train"


def test_overrides_reach_stages_and_the_recipe(load: Any) -> None:
    loaded = load(GOOD, "train.inner.depth=3", "seed=7", "read.limit=2")
    assert (loaded.stage("train").config.inner.depth, loaded.settings.seed) == (3, 7)


def test_of_two_overrides_of_one_field_the_last_counts_and_is_named(load: Any) -> None:
    assert load(GOOD, "seed=7", "seed=8").settings.seed == 8
    assert load(GOOD, "train.inner.depth=3", "train.inner={depth: 4}").stage("train").config.inner.depth == 4
    for assignments in (
        ("seed=a", "train.learning_rate=x", "seed=b"),
        ("train={learning_rate: 1}", "train.learning_rate=b"),
        ("train.learning_rate=a", "train={learning_rate: b}"),
    ):
        said = problems(load, GOOD, *assignments)
        assert "not `'b'`" in said
        assert f"\n    {assignments[-1]}" in said
        assert f"\n    {assignments[0]}" not in said


def test_the_storage_path_is_the_environments_if_nothing_sets_it(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESSEMER_STORAGE_PATH", str(tmp_path / "mine"))
    assert load(GOOD).settings.storage_path == str(tmp_path / "mine")
    assert load(f"storage_path: kept\n{GOOD}").settings.storage_path == str(Path.cwd() / "kept")
    assert load(GOOD, "storage_path=kept").settings.storage_path == str(Path.cwd() / "kept")
    monkeypatch.setenv("BESSEMER_STORAGE_PATH", "s3://bucket")
    assert "should be a local folder" in problems(load, GOOD)


def test_relative_paths_are_the_recipes_or_the_command_lines(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load(GOOD).stage("read").config.paths == [str(tmp_path / "data")]
    assert load(GOOD, "read.paths=[data]").stage("read").config.paths == [str(elsewhere / "data")]


def test_paths_of_the_command_line_start_in_its_working_folder_wherever_they_are_checked(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Tune changes the working folder of a trial, and a job has another one."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    loaded = load(GOOD, "read.paths=[data]", "storage_path=kept", "train.learning_rate=0.5")
    assert loaded.settings.storage_path == str(here / "kept")
    assert loaded.absolute_assignments() == [
        f'read.paths=["{here / "data"}"]', f"storage_path={here / 'kept'}", "train.learning_rate=0.5",
    ]  # fmt: skip
    monkeypatch.chdir(there)
    changed = recipes.check(
        loaded.text,
        loaded.path,
        loaded.assignments,
        STAGES.__getitem__,
        list(STAGES),
        working_folder=loaded.working_folder,
        changes={"clean.num_workers": 0},
    )
    assert changed.resolved() | {"stages": 0} == loaded.resolved() | {"stages": 0}
    assert changed.stage("read").config.paths == [str(here / "data")]
    again = load(GOOD, *loaded.absolute_assignments())
    assert again.stage("read").config.paths == [str(here / "data")]


def test_a_path_among_the_changes_is_relative_to_the_recipe(load: Any, tmp_path: Path) -> None:
    loaded = load(GOOD)
    changed = recipes.check(
        loaded.text, loaded.path, (), STAGES.__getitem__, list(STAGES),
        working_folder=tmp_path / "elsewhere", changes={"read.paths": ["other"]},
    )  # fmt: skip
    assert changed.stage("read").config.paths == [str(tmp_path / "other")]


@pytest.mark.parametrize("url", ["s3://bucket/runs", "gs://b", "S3://b", "file:///tmp/x", "s3:/b", "az://c/p"])
def test_a_storage_path_that_is_a_url_is_refused(load: Any, url: str) -> None:
    assert "should be a local folder" in problems(load, f"storage_path: {url}\n{GOOD}")
    assert "should be a local folder" in problems(load, GOOD, f"storage_path={url}")


def test_a_setting_of_a_stage_that_the_recipe_lacks_says_so(load: Any) -> None:
    text = "name: x\nstages:\n  read:\n  small: {stage: train, from: read}\n"
    lacking = problems(load, GOOD, "judge.limit=3")
    assert "the recipe has no stage `judge`" in lacking
    assert "`clean`" in lacking
    assert "its stage of this kind is called `small`" in problems(load, text, "train.learning_rate=1")
    assert "the recipe has no stage `trian`\n    trian.learning_rate=1\n    did you mean `train`?" in problems(
        load, GOOD, "trian.learning_rate=1"
    )
    assert "write it below `stages:`" in problems(load, "clean:\n" + GOOD.replace("  clean:\n", ""))
    assert "`sed` is not a setting" in problems(load, GOOD, "sed=1")


def test_all_problems_are_shown_at_once_with_their_lines(load: Any) -> None:
    text = "name: x\nstages:\n  read: {limt: 3}\n  claen:\n  train: {learning_rate: fast, inner: {dept: 2}}\n"
    message = problems(load, text, "sead=1", "train.inner.depth=deep")
    assert "the recipe has 6 problems" in message
    assert "recipe.yaml:3: `read.limt` is not a setting" in message
    assert "did you mean `limit`?" in message
    assert "recipe.yaml:4: no stage is called `claen`" in message
    assert "did you mean `clean`?" in message
    assert "recipe.yaml:5: `train.learning_rate` should be a valid number" in message
    assert "did you mean `depth`?" in message
    assert "command line: `sead` is not a setting" in message
    assert "command line: `train.inner.depth` should be a valid integer" in message


def test_a_field_of_several_types_is_one_problem(load: Any) -> None:
    message = problems(load, GOOD, "num_workers=-x", "train.num_workers=[1]")
    assert "the recipe has 2 problems" in message
    assert "`num_workers` should be a valid integer or 'auto', not `'-x'`" in message
    assert "`train.num_workers` should be a valid integer or 'auto', not `[1]`" in message


def test_a_stage_named_on_the_command_line_is_recorded_as_plain_text(load: Any) -> None:
    loaded = load(GOOD, "train.from=[read]")
    assert {type(source) for source in loaded.stage("train").sources.values()} == {str}, "YAML can write it"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\nstages:\n  clean:\n", "`clean` needs documents, but no stage above makes it"),
        ("name: x\nstages:\n  read:\n  clean: {from: train}\n  train:\n", "is below `clean`"),
        ("name: x\nstages:\n  read:\n  clean: {from: clean}\n", "not a stage above it"),
        ("name: x\nstages:\n  read:\n  train: {from: raed}\n", "did you mean `read`?"),
        ("name: x\n", "at least one stage"),
        ("name: X Y\nstages:\n  read:\n", "`name` should match pattern"),
        ("name: x\nseed: -1\nstages:\n  read:\n", "`seed` should be greater than or equal to 0"),
        ("stages:\n  read:\n", "`name` is missing"),
        ("name: x\nstages:\n  read: 3\n", "should be a mapping"),
        ("[]", "a recipe is a mapping"),
        ("name: x\nname: y\nstages:\n  read:\n", "`name` is set twice"),
        ("name: x\nseed: -1\nstages:\n  read:\n", "`seed`"),
        ("name: x\nnum_workers: -2\nstages:\n  read:\n", "`num_workers`"),
    ],
)
def test_each_mistake_has_its_own_words(load: Any, text: str, expected: str) -> None:
    assert expected in problems(load, text)


def test_a_missing_recipe_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the file does not exist"):
        recipes.load(tmp_path / "none.yaml", (), STAGES.__getitem__, list(STAGES))


def test_only_settings_that_change_the_result_are_part_of_it() -> None:
    """Worker counts and places stay outside, so a stage is reused on another machine."""
    one, two = Reader(paths=["/a"], num_workers=1), Reader(paths=["/b"], num_workers=2)
    assert result_settings(one) == result_settings(two) == {"limit": 10}
    assert result_settings(Trainer()) == {"learning_rate": 0.1, "inner": {"depth": 1}}
