"""The choice of bf16 or fp32 follows a measurement that is made once per machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bessemer.errors import StorageError
from bessemer.model import speed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(speed, "_gpu_name", lambda: None)
    return tmp_path


def test_it_is_measured_once_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speed.remembered() is None
    found = speed.measured(CPU)
    assert found.keys() == {"bfloat16", "float32"}
    assert all(value > 1e6 for value in found.values())
    assert speed.remembered() == found
    monkeypatch.setattr(speed, "_measure", lambda device, dtype: pytest.fail("measured again"))
    assert speed.measured(CPU) == found


def test_a_slow_type_is_measured_on_small_matrices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def emulated(device: torch.device, dtype: torch.dtype, size: int) -> float:
        sizes.append((dtype, size))
        return 1e9 if dtype == torch.bfloat16 else 1e11

    monkeypatch.setattr(speed, "_speed", emulated)
    assert speed.measured(CPU) == {"bfloat16": 1e9, "float32": 1e11}
    assert sizes == [(torch.bfloat16, 256), (torch.float32, 256), (torch.float32, 1024)]


@pytest.mark.parametrize("content", ["{", "[]", '{"%s": {}}', '{"%s": 7}'])
def test_a_damaged_cache_costs_a_measurement_only(empty_cache: Path, content: str) -> None:
    (empty_cache / "bessemer").mkdir()
    (empty_cache / "bessemer" / "speeds.json").write_text(content.replace("%s", speed._key(speed._cpu_name())))
    assert speed.remembered() is None
    assert speed.measured(CPU)["float32"] > 0
    assert speed.remembered() is not None


def test_a_cache_that_cannot_be_written_costs_a_measurement_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, value: object) -> None:
        raise StorageError(f"`{path}` cannot be written", hint="")

    monkeypatch.setattr(speed.storage, "write_json", refuse)
    assert speed.measured(CPU)["float32"] > 0


@pytest.mark.parametrize(("bf16", "chosen"), [(10.0, "bfloat16"), (1.1, "float32"), (0.1, "float32")])
def test_bf16_has_to_be_worthwhile(bf16: float, chosen: str) -> None:
    assert speed.faster({"bfloat16": bf16, "float32": 1.0}) == chosen
