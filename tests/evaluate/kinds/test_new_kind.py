"""A kind of task is one new file, its import and one line of registration, as CONTRIBUTING says.

The test adds the kind `repetition` to a copy of the package. A process that imports the copy runs the stage `evaluate`
with a task of this kind on two models.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.evaluate.tiny_model import make_tiny_model

import bessemer

KIND = '''
"""Repetition: the share of the words of a continuation that occur earlier in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.dataset_items import Item, read_items, text_of
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Result, mean_score
from bessemer.evaluate.task import DatasetTask, Template
from bessemer.generate.settings import GenerationSettings

if TYPE_CHECKING:
    from bessemer.evaluate.materials import Materials


class Repetition(DatasetTask):
    """How often the model repeats its own words."""

    lower_is_better: ClassVar = frozenset({"repetition"})
    descriptions: ClassVar = {"repetition": Metric("1", "Share of the words that occur earlier in the continuation.")}

    kind: Literal["repetition"]
    """The kind of task."""
    prompt: Template = "{{prompt}}"
    """The text to continue."""
    metrics: tuple[Literal["repetition"], ...] = ("repetition",)
    """The headline metrics."""

    def items(self, made: Mapping[str, Dataset]) -> list[PromptItem]:
        return read_items(self, self.dataset, self._item)

    def _item(self, row: Row, group: str | None) -> PromptItem:
        return PromptItem(row.id, group, text_of("prompt", self.prompt, row))

    def score(self, materials: Materials) -> Result:
        items = self.items(materials.made)
        settings = GenerationSettings(max_new_tokens=16, temperature=0)
        found = materials.subject.generator.generate([item.prompt for item in items], settings)
        rows = []
        for item, completion in zip(items, found, strict=True):
            words = completion.text.split() or [""]
            rows.append({"id": item.id, "completion": completion.text, "repetition": 1 - len(set(words)) / len(words)})
        table = pa.Table.from_pylist(rows)
        return Result([mean_score("repetition", table["repetition"].to_numpy())], table)


@dataclass(frozen=True)
class PromptItem(Item):
    prompt: str

    @property
    def text(self) -> str:
        return self.prompt
'''

RUN = """
import json, logging, sys
from pathlib import Path

from bessemer.evaluate.metric_descriptions import METRICS
from bessemer.stages import evaluate
from bessemer.stages.base import Context, Draft
from bessemer.stages.engine.metric_names import metric_names

assert "torch" not in sys.modules, "a plan imports the kind"
folder = Path(sys.argv[1])
models = {name: str(folder / name) for name in ("one", "two")}
raw = {"tasks": {"again": {"file": "again.yaml"}}, "models": models, "require": {"again/repetition": "<= 1"}}
config = evaluate.Config.model_validate(raw, context={"folder": folder})
outside = evaluate.outside(config)
evaluate.check(config, {})
draft = Draft(folder / "scores", "fingerprint")
context = Context(0, 0, logging.getLogger(), folder / "stop", start_ray=lambda: None)
evaluate.run(config, {}, draft, context)
print(json.dumps({
    "outside": outside,
    "names": sorted(metric_names("evaluate", config, {})),
    "metrics": draft.metrics,
    "unit": METRICS["repetition"].unit,
    "schema": "Repetition" in config.model_json_schema()["$defs"],
}))
"""


def test_a_kind_is_one_file_and_one_line_of_registration(tmp_path: Path) -> None:
    package = tmp_path / "source" / "bessemer"
    shutil.copytree(Path(bessemer.__file__).parent, package)
    kinds = package / "evaluate" / "kinds"
    (kinds / "repetition.py").write_text(KIND)
    registry = (kinds / "__init__.py").read_text()
    registry = registry.replace(
        "\nAnyTask =", "\nfrom bessemer.evaluate.kinds.repetition import Repetition\n\nAnyTask ="
    )
    (kinds / "__init__.py").write_text(registry.replace("    | Toxicity,", "    | Toxicity\n    | Repetition,"))

    texts = ["The reader opens a file.", "The writer closes the file."]
    for name, number in (("one", 1), ("two", 3)):
        make_tiny_model(tmp_path / name, texts * number, max_seq_length=32)
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": text[:11]}) for text in texts))
    (tmp_path / "again.yaml").write_text("kind: repetition\ndataset: prompts.jsonl\n")
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["outside"]["again"][0][0][0] == "prompts.jsonl"
    assert found["names"] == ["evaluate/again/repetition", "evaluate/one/again/repetition"]
    assert found["metrics"].keys() == set(found["names"])
    assert (found["unit"], found["schema"]) == ("1", True)
    data = tmp_path / "scores" / "data"
    items = {path.relative_to(data).as_posix() for path in data.rglob("*.parquet")}
    assert items >= {"items/one/again.parquet", "items/two/again.parquet", "comparisons.parquet"}
    (compared,) = json.loads((data / "comparisons.json").read_text())
    assert (compared["metric"], compared["n"]) == ("repetition", 2)
