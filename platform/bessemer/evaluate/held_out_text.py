"""The documents that tasks predict: their files, digests, texts and tokens.

A task predicts a split of the recipe's documents, or documents at paths that it names. The latter are read once into a
Parquet file in the work folder of the stage. Bits per byte are comparable only between equal texts, so a digest of each
text goes into the manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from bessemer.artifacts.tables import document_parts
from bessemer.evaluate.task import PredictedText, Task
from bessemer.fingerprint import content_hash

if TYPE_CHECKING:
    from bessemer.tokens.tokenizer import TokenizerFolder


def named_documents(tasks: Mapping[str, Task]) -> dict[str, PredictedText]:
    """Returns the texts of the tasks that name documents by path, by the name of the task."""
    predicted = {name: task.predicted_text for name, task in tasks.items()}
    return {name: text for name, text in predicted.items() if text is not None and text.documents}


def documents_file(work: Path, task: str) -> Path:
    """Returns the Parquet file of the documents that a task names."""
    return work / "documents" / f"{task}.parquet"


def text_digests(tasks: Mapping[str, Task], documents: Sequence[Path] | None, work: Path) -> dict[str, str]:
    """Returns a digest of each text that the tasks predict. `documents` are the files of the recipe's documents, if it
    makes any."""
    predicted = [text for task in tasks.values() if (text := task.predicted_text) is not None]
    splits = sorted({text.split for text in predicted if not text.documents})
    found = digests(documents, splits) if splits and documents is not None else {}
    for name, text in named_documents(tasks).items():
        found[f"documents of {name}"] = digests([documents_file(work, name)], [text.split])[text.split]
    return found


def digests(parts: Iterable[Path], splits: Sequence[str]) -> dict[str, str]:
    """Returns a digest per split. It depends on the ids and texts of the documents but not on their order."""
    found: dict[str, list[str]] = {split: [] for split in splits}
    for part in parts:
        for batch in document_parts(part, ["id", "content_hash", "split"]):
            columns = (batch[name].to_pylist() for name in ("id", "content_hash", "split"))
            for name, text, split in zip(*columns, strict=True):
                if split in found:
                    found[split].append(f"{name} {text}")
    return {split: content_hash("\n".join(sorted(names)))[:16] for split, names in found.items()}


def document_texts(ids: Collection[str], parts: Iterable[Path]) -> dict[str, str]:
    """Returns the texts of the documents with these ids, by id."""
    found: dict[str, str] = {}
    for part in parts:
        for batch in document_parts(part, ["id", "text"]):
            chosen = batch.filter(pc.is_in(batch["id"], pa.array(list(ids), pa.string())))
            found |= dict(zip(chosen["id"].to_pylist(), chosen["text"].to_pylist(), strict=True))
    return found


def token_store(documents: Path, tokenizer: TokenizerFolder, folder: Path) -> Path:
    """Tokenizes the documents of a Parquet file into a token store in `folder`. Returns `folder`."""
    from bessemer.tokens.encoder import Encoder
    from bessemer.tokens.tokenize import COLUMNS, tokenize_documents
    from bessemer.tokens.writer import write_meta, write_shard

    encoder = Encoder(tokenizer)
    shards = []
    for number, batch in enumerate(document_parts(documents, COLUMNS)):
        for split, tokenized in tokenize_documents(batch, encoder)[0].items():
            shards.append(write_shard(folder, split, number, [tokenized]))
    write_meta(
        folder,
        shards,
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        token_bytes=tokenizer.token_bytes,
    )
    return folder
