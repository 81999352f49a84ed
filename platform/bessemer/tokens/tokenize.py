"""Tokenizes one unit of work: a table of documents becomes tokens and an index per split, and a ledger.

A document is the special tokens that its tokenizer puts before a text (BOS of Llama 3, often none), the tokens of the
text, and the end of text. torchtitan trains Llama 3 on the same sequence (`add_bos=True, add_eos=True`), so continued
pre-training of an imported model sees documents as its pre-training did.

The result is a pure function of the table and the tokenizer, so a repeated unit gives the same bytes on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bessemer.artifacts.descriptions import Reason
from bessemer.artifacts.documents import SPLITS
from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table
from bessemer.tokens.encoder import Encoder
from bessemer.tokens.writer import Tokenized, index_rows

EMPTY = "empty"
RULES: Mapping[str, Reason] = {EMPTY: Reason("The text has only blanks.")}
"""The rules that remove a document, by their name in the ledger."""
COLUMNS = ["id", "text", "url", "source", "split"]
SIGNALS = ("num_tokens", "num_bytes")


def tokenize_documents(table: pa.Table, encoder: Encoder) -> tuple[dict[str, Tokenized], pa.Table]:
    """(tokens by split, ledger) for a table of documents with at least `COLUMNS`, in the order of the table.

    The rule `empty` removes documents that contain only whitespace.
    """
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(table["text"])), 0).to_numpy()
    num_bytes = pc.binary_length(table["text"]).to_numpy().astype(np.int64)
    num_tokens = np.zeros(len(table), np.int64)
    begin = np.array(encoder.tokenizer.document_begin_ids, encoder.dtype).tobytes()
    end_of_text = np.array([encoder.tokenizer.end_of_text_id], encoder.dtype).tobytes()
    splits: dict[str, Tokenized] = {}
    for split in SPLITS:
        rows = np.flatnonzero(pc.equal(table["split"], split).to_numpy() & ~blank)
        if not len(rows):
            continue
        chosen = table.take(rows)
        encoded = [begin + ids for ids in encoder.encode(chosen["text"].to_pylist())]
        lengths = np.array([len(ids) for ids in encoded], np.int64) // encoder.dtype.itemsize + 1
        num_tokens[rows] = lengths
        splits[split] = Tokenized(
            np.frombuffer(end_of_text.join([*encoded, b""]), encoder.dtype),
            index_rows(chosen["id"], chosen["url"], chosen["source"], lengths, num_bytes[rows]),
        )
    ledger = ledger_table(
        table["id"],
        table["url"],
        [REMOVED if empty else KEPT for empty in blank],
        rules=[EMPTY if empty else None for empty in blank],
        signals={"num_tokens": num_tokens, "num_bytes": num_bytes},
    )
    return splits, ledger
