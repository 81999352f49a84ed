"""A folder with a recipe and a few documents, in which tests call commands like a user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE = """
name: stories
num_workers: 0
stages:
  ingest: {paths: [documents], split: {validation: 0.15, test: 0.15}}
  clean: {rules: [normalise, pii]}
  dedup:
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain:
    model:
      {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 64}
    max_seq_length: 32
    num_tokens: 4096
    global_batch_size: 4
    validation_tokens: 1024
  evaluate:
"""
ANIMALS = ("cat", "dog", "owl", "fox", "hen", "bat", "ant", "bee", "cow", "eel")


@dataclass
class Home:
    """A folder with a recipe and documents, in which commands are called."""

    folder: Path

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "bessemer", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def manifest(self, stage: str) -> dict[str, Any]:
        """The manifest of a stage of the newest run."""
        state = json.loads(self("status", "--json").stdout)
        path = self.folder / "runs" / state["stages"][stage]["path"] / "manifest.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def make_home(folder: Path) -> Home:
    documents = folder / "documents"
    documents.mkdir(parents=True)
    for number in range(60):
        animal, friend = ANIMALS[number % 10], ANIMALS[number // 10]
        story = f"Story {number}. The {animal} met the {friend} at the river. " * 3
        story += " ".join(f"Then the {ANIMALS[(number * k) % 10]} counted to {number * k}." for k in range(2, 30))
        (documents / f"{number:02d}.txt").write_text(story + f"\nWrite to {animal}@example.org for more.\n")
    (documents / "copy.txt").write_text((documents / "07.txt").read_text())
    (documents / "empty.txt").write_text("")
    (documents / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "recipe.yaml").write_text(RECIPE)
    return Home(folder)
