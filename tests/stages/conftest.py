"""Fixtures for stages after pre-training: a small model with a chat template, rows, a function that runs a stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.small_chat import write_model

from bessemer.artifacts.store import Artifact
from bessemer.tokens.tokenizer import TokenizerFolder


@pytest.fixture
def run_stage(make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> Callable[..., Any]:
    """`run_stage(finetune, inputs, "name", max_steps=3)` runs a stage as a run would: (draft, seal)."""

    def run(
        stage: Any,
        inputs: Mapping[str, Artifact],
        name: str = "",
        *,
        context: Any = None,
        attempt: int = 1,
        **settings: Any,
    ) -> tuple[Any, Callable[[], Artifact]]:
        draft, seal = make_artifact(stage.STAGE.produces, name)
        draft.attempt = attempt
        config = stage.Config.model_validate(settings)
        if stage.STAGE.check:
            stage.STAGE.check(config, inputs)
        stage.run(config, inputs, draft, context or make_context())
        return draft, seal

    return run


@pytest.fixture
def read_rows(run_stage: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`read_rows(conversations, inputs, rows)` runs a stage on a file of them: (draft, artifact)."""

    def read(
        stage: Any, inputs: Mapping[str, Artifact], rows: list[Any], *, name: str = "rows.jsonl", **settings: Any
    ) -> tuple[Any, Artifact]:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) if name.endswith("jsonl") else f"[{','.join(lines)}]")
        draft, seal = run_stage(
            stage, inputs, f"{stage.STAGE.kind}-{len(rows)}", paths=[str(tmp_path / name)], **settings
        )
        return draft, seal()

    return read


@pytest.fixture
def make_model(make_artifact: Callable[..., Any]) -> Callable[..., dict[str, Artifact]]:
    """`make_model(tokenizer)` is a new little model and its tokenizer; see `small_chat.write_model`."""

    def make(tokenizer: TokenizerFolder, **settings: Any) -> dict[str, Artifact]:
        draft, seal_tokenizer = make_artifact("tokenizer")
        tokenizer.save(draft.data)
        tokenizer_artifact = seal_tokenizer()
        draft, seal_model = make_artifact("model", "new")
        write_model(draft.data, tokenizer_artifact.data, **settings)
        return {"tokenizer": tokenizer_artifact, "model": seal_model()}

    return make
