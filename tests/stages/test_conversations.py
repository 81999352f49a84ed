"""conversations: the recipe's columns and chat template are used; the plan finds settings that fit no row."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests.support.small_chat import tokenizer_of, write_model

from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, NothingLeft, UsageError
from bessemer.stages import base_model, conversations, finetune, preferences, tokenizer
from bessemer.stages.engine.row_files import check_columns
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.tokenizer import TokenizerFolder

ROWS = [{"prompt": f"What is {n} + 1?", "completion": f"It is {n + 1}."} for n in range(6)]
STRICT = (
    "{% for m in messages %}{% if 'no' in m.content %}{{ raise_exception('no is forbidden') }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + ('\n' if m.role == 'user' or loop.last else ': ') }}"
    "{{ m.content + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def trained() -> TokenizerFolder:
    return tokenizer_of([*(" ".join(row.values()) for row in ROWS), "user assistant system tool"])


@pytest.fixture
def converse(make_artifact: Callable[..., Any], read_rows: Callable[..., Any], trained: TokenizerFolder) -> Any:
    """`converse(rows, template=...)` runs the stage on a file of rows: (draft, rows of the artifact)."""

    def run(rows: list[Any], *, template: str | None = None, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
        draft, seal = make_artifact("tokenizer", str(template)[:20].encode().hex())
        changed = {} if template is None else {"chat_template": template}
        TokenizerFolder(trained.tokenizer, trained.settings | changed, "small").save(draft.data)
        settings = {"split": {"validation": 0}, **settings}
        draft, artifact = read_rows(conversations, {"tokenizer": seal()}, rows, **settings)
        return draft, [row for part in artifact.parts() for row in pq.read_table(part).to_pylist()]

    return run


def test_a_row_that_the_template_refuses_has_a_verdict(converse: Any) -> None:
    draft, rows = converse([*ROWS, {"prompt": "Say no.", "completion": "Never."}], template=STRICT)
    assert (len(rows), draft.counts.removed_by_rule) == (6, {"refused_by_template": 1})
    with pytest.raises(NothingLeft) as caught:
        converse([{"prompt": "Say no.", "completion": "Never."}], template=STRICT)
    assert "`chat_template` of the stage `tokenizer`" in caught.value.hint


def test_answers_that_are_context_only_are_counted(converse: Any, caplog: pytest.LogCaptureFixture) -> None:
    turns = [message for row in ROWS[:3] for message in (("user", row["prompt"]), ("assistant", row["completion"]))]
    chat = {"messages": [{"role": role, "content": text} for role, text in turns]}
    with caplog.at_level(logging.WARNING):
        converse([chat, *ROWS], template=FORGETFUL)
    assert "2 earlier answers are used only as context and not trained on" in caplog.text
    caplog.clear()
    converse([chat, *ROWS[:5]])
    assert "are context" not in caplog.text


def test_columns_are_mapped_and_the_rest_is_kept(converse: Any) -> None:
    rows = [{"ask": "Hi?", "reply": "Hello.", "persona": "Be kind.", "answer": "4"}]
    names = {"prompt": "ask", "completion": "reply", "system": "persona"}
    _, [row] = converse(rows, columns=names)
    assert [message["content"] for message in row["messages"]] == ["Be kind.", "Hi?", "Hello."]
    assert json.loads(row["fields"]) == {"answer": "4"}
    with pytest.raises(
        ValidationError, match="names the unknown field `question_text`; the fields are messages, conversations"
    ):
        conversations.Config(paths=["x"], columns={"question_text": "ask"})
    with pytest.raises(ValidationError, match="names the unknown field `better`; the fields are chosen, rejected"):
        preferences.Config(paths=["x"], columns={"better": "chosen"})


def test_a_mapped_column_that_no_row_has_is_an_error(converse: Any, tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "persona": None}]
    converse(rows, columns={"system": "persona"})
    with pytest.raises(
        InputError, match="no row has the column `persna`, which `columns` names for `system`"
    ) as caught:
        converse(rows, columns={"system": "persna"})
    assert caught.value.hint == "correct `columns`; the rows have `prompt`, `completion`, `persona`"
    for stage, field in ((conversations, "completion"), (preferences, "chosen")):
        config = stage.Config(paths=[_file(tmp_path, ROWS[0])], columns={"prompt": "prompt", field: "reply"})
        with pytest.raises(InputError, match=f"no row has the column `reply`, which `columns` names for `{field}`"):
            stage.outside(config)


def test_the_plan_does_not_judge_columns_by_the_first_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, {"persona": "Be kind."}]))
    config = conversations.Config(paths=[str(tmp_path / "rows.jsonl")], columns={"system": "persona"})
    for limit in (1, len(ROWS), len(ROWS) + 1, None):
        check_columns(config, limit)
    wrong = conversations.Config(paths=config.paths, columns={"system": "persna"})
    check_columns(wrong, len(ROWS))
    with pytest.raises(InputError, match="no row has the column `persna`"):
        check_columns(wrong, len(ROWS) + 1)


def test_rows_that_are_all_too_long_are_advised_about_the_length(converse: Any) -> None:
    with pytest.raises(NothingLeft, match="6 removed by `too_long`") as caught:
        converse(ROWS, max_seq_length=3)
    assert caught.value.hint == "raise `max_seq_length`"


def test_a_row_with_tools_is_rendered_with_them(converse: Any, trained: TokenizerFolder) -> None:
    tools = [{"type": "function", "function": {"name": "sum"}}]
    _, [row] = converse([ROWS[0] | {"tools": json.dumps(tools)}])
    messages = [{"role": message["role"], "content": message["content"]} for message in row["messages"]]
    assert json.loads(row["variables"]) == {"tools": tools}
    chat = ChatTemplate.of(trained)
    assert row["ids"][: row["prompt_length"]] == chat.prompt(messages[:-1], {"tools": tools}).tolist()


def brought(folder: Path, trained: TokenizerFolder, template: str | None) -> tokenizer.Config:
    TokenizerFolder(trained.tokenizer, trained.settings | {"chat_template": template}, "small").save(folder)
    return tokenizer.Config(path=str(folder))


def test_the_plan_finds_a_template_that_takes_no_row(tmp_path: Path, trained: TokenizerFolder) -> None:
    def plan(rows: list[Any], template: str | None, stage: Any = conversations) -> None:
        (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        config = stage.Config(paths=[str(tmp_path / "rows.jsonl")])
        stage.check(config, {"tokenizer": brought(tmp_path / f"tokenizer{hash(template)}", trained, template)})

    pairs = [{"prompt": row["prompt"], "chosen": row["completion"], "rejected": "No."} for row in ROWS]
    plan(ROWS, STRICT)
    plan(pairs, trained.chat_templates["default"], preferences)
    for stage, rows in ((conversations, ROWS), (preferences, pairs)):
        with pytest.raises(InputError, match="has no chat template") as caught:
            plan(rows, None, stage)
        assert "tokenizer: {chat_template: FILE}" in caught.value.hint
        with pytest.raises(InputError, match=r"6 removed by `not_in_template` .*does not write `tools`") as caught:
            plan([row | {"tools": [{"name": "sum"}]} for row in rows], STRICT, stage)
        assert "to a file with it" in caught.value.hint
    with pytest.raises(InputError, match="1 removed by `no_conversation`") as caught:
        conversations.outside(conversations.Config(paths=[_file(tmp_path, {"text": "A page."})]))
    assert "by the fields messages, conversations, instruction" in caught.value.hint
    assert "columns: {prompt: question}" in caught.value.hint


def _file(folder: Path, row: Any) -> str:
    (folder / "row.jsonl").write_text(json.dumps(row))
    return str(folder / "row.jsonl")


def test_the_plan_finds_a_checkpoint_and_a_tokenizer_that_do_not_fit(tmp_path: Path, trained: TokenizerFolder) -> None:
    mine = brought(tmp_path / "mine", trained, None)
    other = brought(tmp_path / "other", tokenizer_of(["Quite other words, one after another."], 300), None)
    write_model(tmp_path / "model", tmp_path / "mine")
    model = base_model.Config(path=str(tmp_path / "model"))
    assert finetune.STAGE.check is not None
    config = finetune.Config(max_seq_length=64)
    finetune.STAGE.check(config, {"model": model, "tokenizer": mine})
    with pytest.raises(UsageError, match="another tokenizer than the tokens"):
        finetune.STAGE.check(config, {"model": model, "tokenizer": other})
    base_model.outside(model)
    larger = tokenizer_of([*(" ".join(row.values()) for row in ROWS), "user assistant system tool"])
    larger.tokenizer.add_tokens([f"<extra {n}>" for n in range(2000)])
    larger.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"has a vocabulary of \d+, and its tokenizer one of \d+"):
        base_model.outside(model)
    with pytest.raises(UsageError, match=r"has a vocabulary of \d+, the tokens one of \d+"):
        finetune.STAGE.check(config, {"model": model, "tokenizer": tokenizer.Config(path=str(tmp_path / "model"))})


def test_named_templates_are_copied_with_a_checkpoint(
    make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path, trained: TokenizerFolder
) -> None:
    brought(tmp_path / "tokenizer", trained, STRICT)
    write_model(tmp_path / "model", tmp_path / "tokenizer")
    extra = tmp_path / "model" / "additional_chat_templates" / "tool_use.jinja"
    extra.parent.mkdir()
    extra.write_text(FORGETFUL)
    config = base_model.Config(path=str(tmp_path / "model"))
    assert "additional_chat_templates/tool_use.jinja" in base_model.outside(config)
    draft, seal = make_artifact("model")
    base_model.run(config, {}, draft, make_context())
    artifact: Artifact = seal()
    assert TokenizerFolder.open(artifact.data).chat_templates == {"default": STRICT, "tool_use": FORGETFUL}
