"""Bad chats, preferences, rewards and tasks give one clear error with a hint before any training.

The tests use the real command line. The plan finds most of these errors before the first stage starts.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.home import Home
from tests.support.small_chat import tokenizer_of, write_model

from bessemer import storage

RECIPE = """
name: chat
num_workers: 0
stages:
  base_model: {path: model}
  tokenizer: {path: model}
  conversations: {paths: [chats.jsonl], split: {validation: 0}}
  preferences: {paths: [pairs.jsonl], split: {validation: 0}}
  reinforce:
    from: base_model
    grpo: {num_generations: 2, max_completion_length: 8}
    rewards: [{kind: length, target: 5}]
    max_seq_length: 64
    global_batch_size: 4
    max_steps: 2
  align: {from: base_model, dpo: {}, max_seq_length: 64, global_batch_size: 4, max_steps: 2}
  evaluate:
    tasks: {colours: {kind: generation, dataset: chats.jsonl, query: "{{prompt}}", references: completion}}
"""
CHATS = [
    {"prompt": f"Which colour has the {thing}, if it is {word}?", "completion": f"The {thing} is {word}."}
    for word in ("red", "blue", "green")
    for thing in ("car", "boat", "tree", "bird")
]
PAIRS = [{"prompt": chat["prompt"], "chosen": chat["completion"], "rejected": "No."} for chat in CHATS]


def lines(rows: list[Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


FILES: dict[str, str | bytes] = {
    "recipe.yaml": RECIPE,
    "chats.jsonl": lines(CHATS),
    "pairs.jsonl": lines(PAIRS),
    "empty.jsonl": "\n",
    "chats.xlsx": "PK",
    "lists.jsonl": '["Hi", "Hello"]\n',
    "orders.jsonl": lines(
        [
            {"messages": [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Hi."}]},
            {"messages": [{"role": "user", "content": "Hi?"}]},
            {"messages": [None]},
            {"messages": "Hi."},
            {"prompt": "Hi?", "completion": None},
            {"prompt": "\ud800?", "completion": "Half a character."},
            {"instruction": "Go.", "output": "Gone.", "history": [1, ["one", "two", "three"]]},
            None,
        ]
    ),
    "same.jsonl": lines([{"prompt": "Hi?", "chosen": "Same.", "rejected": "Same."}] * 3),
    "kto.jsonl": lines([chat | {"label": True} for chat in CHATS]),
    "rewards.py": "def polite(completions, **columns):\n    raise RuntimeError('rude')\n",
    "broken.py": "def polite(:\n",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with an open checkpoint of a few layers, good files, and files with various faults."""
    folder = tmp_path_factory.mktemp("chats")
    for name, content in FILES.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    tokenizer_of(" ".join(chat.values()) for chat in CHATS).save(folder / "tokenizer")
    write_model(folder / "model", folder / "tokenizer")
    template = "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
    with_template(folder / "tokenizer", folder / "foreign", template)
    with_template(folder / "tokenizer", folder / "untalkative", None)
    found = Home(folder)
    found("run", "recipe.yaml", "--until", "preferences")
    return found


SETTINGS = {
    "conversations.split={validation: 0.6, test: 0.5}": "must add up to less than 1",
    "preferences.paths=pairs.jsonl": "`preferences.paths` should be a list",
    "align.lora={r: 0, target_modules: [c_attn]}": "`align.lora.r` should be greater than 0",
    "align.from=tokeniser": "did you mean `tokenizer`?",
    "align.max_steps=few": "`align.max_steps` should be a valid integer",
    "align.num_threads=0": "`align.num_threads` should be greater than 0 or 'auto', not `0`",
    "reinforce.grpo={num_generations: 1}": "`reinforce.grpo.num_generations` should be greater than or equal to 2",
    "reinforce.rewards=[{kind: lenght}, {kind: exact_match, extract: '('}]": "did you mean `length`?",
    "evaluate.tasks={a: {kind: generation, dataset: x, query: '{{', metrics: [acc]}, b: {kind: genration}}": (
        "`evaluate.tasks.a.query`: not a Jinja template"
    ),
    "evaluate.require={colours/exact_match: about 1}": "is not a condition",
}
ALSO = (
    "`align.lora.target_modules.0` should be 'q_proj'", "`reinforce.rewards.1.extract` should be a regular expression",
    "`evaluate.tasks.a.metrics.0` should be 'exact_match'", "`evaluate.tasks.b.kind` should be a known one",
    "did you mean `generation`?",
)  # fmt: skip


def test_all_wrong_settings_are_told_at_once_in_plain_words(home: Home) -> None:
    said = home("run", "recipe.yaml", *SETTINGS, code=2).stderr
    for words in (*SETTINGS.values(), *ALSO):
        assert words in said
    assert "the recipe has 14 problems" in said, "and nothing is told twice"
    methods = home("run", "recipe.yaml", "align.kto={}", "evaluate.tasks={arc_esy: {}, b: c}", code=2).stderr
    assert "choose one method of `dpo`, `ipo`, `kto`, `orpo`, not `dpo` and `kto`" in methods
    assert (
        "no declared task has the name `arc_esy`; did you mean `arc_easy`?; the task `b`: its settings should be"
        in methods
    )


TASK = "evaluate.tasks={t: {kind: %s}}"
PLANNED: dict[str, tuple[str, int, str, str]] = {
    "no such file": ("conversations.paths=[chat.jsonl]", 1, "chat.jsonl` does not exist", "check `paths`"),
    "a pattern of nothing": ("preferences.paths=['*.json']", 1, "matches no file", "check `paths`"),
    "an empty file": ("conversations.paths=[empty.jsonl]", 1, "hold no rows", "rows are read from .jsonl"),
    "another format": ("conversations.paths=[chats.xlsx]", 1, "`chats.xlsx` cannot be read: rows are read", ".parquet"),
    "lines that are arrays": ("conversations.paths=[lists.jsonl]", 1, "2 removed by `not_an_object`", "by the fields"),
    "no conversation": ("conversations.paths=[orders.jsonl]", 1, "none of 8 rows can be used: 4 removed", "`columns`"),
    "a template without ends": ("tokenizer.path=foreign", 1, "ends an answer without a special token", "ChatML"),
    "no template": ("tokenizer.path=untalkative", 1, "has no chat template", "tokenizer: {chat_template: FILE}"),
    "no such template": ("tokenizer.chat_template=chat.jinja", 1, "chat.jinja` cannot be read", "`chat_template`"),
    "a column of no field": ("conversations.columns={ask: prompt}", 2, "unknown field `ask`", "fix the recipe"),
    "equal answers": ("preferences.paths=[same.jsonl]", 1, "3 removed by `identical_answers`", "by the fields"),
    "no preferences": ("preferences.paths=[chats.jsonl]", 1, "12 removed by `no_preference`", "chosen, rejected"),
    "a reward in no file": (
        "reinforce.rewards=[{kind: function, file: reward.py, name: polite}]", 1, "does not exist", "recipe's folder",
    ),
    "a reward of no name": (
        "reinforce.rewards=[{kind: function, file: rewards.py, name: polit}]", 1, "not define the function",
        "did you mean `polite`?",
    ),
    "a reward that is no Python": (
        "reinforce.rewards=[{kind: function, file: broken.py, name: polite}]", 1, "line 1 is not Python", "`file`",
    ),
    "no reward": ("reinforce.rewards=[]", 2, "the stage has no reward for answers", "set `rewards`"),
    "a weight of nothing": ("reinforce.reward_model_weight=2", 2, "names no reward model", "add a stage `reward`"),
    "no such dataset": (TASK % "generation, dataset: x.jsonl", 1, "x.jsonl` does not exist", "fix `dataset`"),
    "a dataset without a column": (
        TASK % "minimal_pairs, dataset: chats.jsonl", 1, "`chats.jsonl` line 1: no column `sentence_good`", "fix",
    ),
    "a template that fails": (
        TASK % "generation, dataset: chats.jsonl, query: '{{1/0}}', references: completion", 1,
        "`chats.jsonl` line 1: division by zero", "task's templates",
    ),
    "a task without its text": (TASK % "bits_per_byte", 2, "no stage above makes tokens", "put `tokenize` before"),
    "a requirement of no task": ("evaluate.require={colors/f1: '> 0'}", 2, "names the task `colors`", "`colours`?"),
    "two models of a name": ("evaluate.models={align: model}", 2, "two models are called `align`", "another"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANNED)
def test_the_plan_finds_what_is_wrong_before_anything_runs(home: Home, name: str) -> None:
    assignment, code, words, hint = PLANNED[name]
    runs = sorted((home.folder / "runs").iterdir())
    said = home("run", "recipe.yaml", assignment, code=code).stderr
    message, _, mended = said.partition("hint: ")
    assert words in message
    assert mended
    assert hint in mended
    assert "started" not in said
    assert sorted((home.folder / "runs").iterdir()) == runs


STARTED: dict[str, tuple[list[str], int, str, str]] = {
    "align": (["preferences.paths=[kto.jsonl]"], 2, "12 of 12 preferences have one answer", "`align` with `kto`"),
    "reinforce": (["reinforce.grpo={max_completion_length: 60}"], 2, "an answer up to 60", "at most"),
}


@pytest.mark.parametrize("stage", STARTED)
def test_a_stage_finds_what_is_wrong_before_it_trains(home: Home, stage: str) -> None:
    """Preferences of the wrong kind, and answers longer than the context, are errors before training starts."""
    assignments, code, words, hint = STARTED[stage]
    artifacts = home.folder / "runs" / "artifacts" / stage
    steps = sorted(artifacts.rglob("metrics/*"))
    said = home("run", "recipe.yaml", *assignments, "--until", stage, code=code).stderr
    message, _, mended = said.partition("hint: ")
    assert f"{stage}: failed" in message
    assert words in message
    assert hint in mended
    assert sorted(artifacts.rglob("metrics/*")) == steps


def with_template(folder: Path, copy: Path, template: str | None) -> None:
    """Copies the folder of a tokenizer or model, and replaces its chat template."""
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    file = copy / "tokenizer_config.json"
    storage.write_json(file, storage.read_json(file) | {"chat_template": template})


def test_who_talks_to_a_model_without_a_usable_template_hears_why(home: Home, tmp_path: Path) -> None:
    with_template(home.folder / "model", tmp_path / "none", None)
    said = home("chat", str(tmp_path / "none"), code=1).stderr
    assert "has no chat template" in said
    assert "hint: set a template file in the recipe, `tokenizer: {chat_template: FILE}`" in said
    with_template(home.folder / "model", tmp_path / "deaf", "{{ messages[0]['content'] }}")
    assert "leaves out the assistant's messages" in home("doctor", str(tmp_path / "deaf"), code=1).stdout
