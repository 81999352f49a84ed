"""Fixtures of the small language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.train.small_language import make_trainer, write_store

from bessemer.tokens.store import TokenStore
from bessemer.train.loop import Trainer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Limits torch to one thread. On a busy machine, synchronising threads takes 100 times the time of these models."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return write_store(tmp_path / "tokens", tokens={"train": 1500, "validation": 300})


@pytest.fixture
def trainer(store: TokenStore, tmp_path: Path) -> Callable[..., Trainer]:
    """`trainer("name", num_steps=3)` returns a trainer of the small language that writes to a folder of that name."""
    return lambda name, **changes: make_trainer(store, tmp_path / name, **changes)
