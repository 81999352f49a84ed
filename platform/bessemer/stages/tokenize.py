"""tokenize: converts documents to token shards, one shard per split for each part of the documents."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.artifacts.ledger import Counts, ledger_schema
from bessemer.artifacts.tables import TableWriter, document_parts
from bessemer.errors import NothingLeft
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.work_units import Unit, run_units

if TYPE_CHECKING:
    from bessemer.tokens.writer import Tokenized


class Config(StageConfig):
    """Settings of the stage. The result depends only on the documents and the tokenizer."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return ()


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.tokenizer import TokenizerFolder
    from bessemer.tokens.writer import Shard, write_meta

    parts = inputs["documents"].parts()
    units = [Unit(f"{number:05d}", (number, str(part))) for number, part in enumerate(parts)]
    make_worker = partial(_Tokenize, inputs["tokenizer"].path, draft.data, draft.ledger)
    receipts = run_units(units, make_worker, draft.work / "receipts", context, unit_name="parts")

    counts = sum((Counts(**receipt["counts"]) for receipt in receipts), Counts())
    counts.check()
    if not counts.documents_out:
        raise NothingLeft(
            "no document is left to tokenize",
            hint="run `bessemer show RUN STAGE --dropped` to see the removed documents",
        )
    tokenizer = TokenizerFolder.open(inputs["tokenizer"].path)
    meta = write_meta(
        draft.data,
        [Shard(*shard) for receipt in receipts for shard in receipt["shards"]],
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        token_bytes=tokenizer.token_bytes,
    )
    draft.counts = counts
    splits = meta["splits"]
    num_tokens = sum(split["num_tokens"] for split in splits.values())
    draft.metrics["data/tokens"] = num_tokens
    draft.metrics["data/bytes_per_token"] = sum(s["num_bytes"] for s in splits.values()) / num_tokens
    draft.metrics |= {f"data/tokens_{name}": split["num_tokens"] for name, split in splits.items()}


@dataclass
class _Tokenize:
    """Tokenizes units in one process. A unit is (number, documents file); its receipt has counts and shards."""

    tokenizer: Path
    data: Path
    ledger: Path
    encoder: Any = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.tokens.encoder import Encoder
        from bessemer.tokens.tokenizer import TokenizerFolder

        self.encoder = Encoder(TokenizerFolder.open(self.tokenizer))

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        import pyarrow as pa

        from bessemer.tokens.store import INDEX_SCHEMA
        from bessemer.tokens.tokenize import COLUMNS, SIGNALS, tokenize_documents
        from bessemer.tokens.writer import write_shard

        number, part = unit.payload
        counts = Counts()
        found: dict[str, list[Tokenized]] = defaultdict(list)
        with TableWriter(self.ledger / f"{unit.name}.parquet", ledger_schema(SIGNALS)) as ledger_file:
            for batch in document_parts(Path(part), COLUMNS):
                splits, ledger = tokenize_documents(batch, self.encoder)
                for split, tokenized in splits.items():
                    found[split].append(tokenized)
                ledger_file.write(ledger)
                rows = pa.concat_tables([INDEX_SCHEMA.empty_table(), *(t.rows for t in splits.values())])
                counts += Counts.of(rows, ledger, bytes_in=batch.nbytes)
        shards = [write_shard(self.data, split, number, tokenized) for split, tokenized in found.items()]
        return {"counts": asdict(counts), "shards": shards}


STAGE = Stage(
    kind="tokenize",
    version=2,
    config=Config,
    inputs=(Input("documents"), Input("tokenizer")),
    produces="tokens",
    run=run,
    libraries=("tokenizers",),
)
