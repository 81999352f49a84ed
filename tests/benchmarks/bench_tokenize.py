"""Speed of tokenizing compared with `encode_batch_fast` of the tokenizers library, which gives the same ids.

    python -m tests.benchmarks.bench_tokenize

Times are processor seconds of one core. The text is the data set `text_en_openstax` if it is unpacked, else the modules
of the standard library. A vocabulary of 8192 tokens is trained on the same text.
"""

from __future__ import annotations

import json
import os
import sysconfig
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

VOCAB_SIZE = 8192


def main() -> None:
    from bessemer.tokens.bpe_training import train_tokenizer
    from bessemer.tokens.encoder import Encoder
    from bessemer.tokens.tokenizer import TokenizerFolder

    texts = some_texts()
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} documents, {megabytes:.1f} MB; tokenizers {metadata.version('tokenizers')}")
    tokenizer, seconds = timed(lambda: TokenizerFolder.trained(train_tokenizer(texts, VOCAB_SIZE)))
    print(f"training {VOCAB_SIZE} tokens: {seconds:.1f} s")

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer.tokenizer.encode_special_tokens = True
    encode = tokenizer.tokenizer.encode_batch_fast
    theirs, peer = timed(lambda: [encoding.ids for encoding in encode(texts, add_special_tokens=False)])
    encoder = Encoder(tokenizer)
    ours, cold = timed(lambda: encoder.encode(texts))
    _, warm = timed(lambda: encoder.encode(texts))
    assert all(np.frombuffer(a, encoder.dtype).tolist() == b for a, b in zip(ours, theirs, strict=True))
    for name, seconds in (("empty cache", cold), ("warm cache", warm)):
        print(
            f"encoding, {name}: ours {megabytes / seconds:.1f} MB/s, "
            f"tokenizers {megabytes / peer:.1f} MB/s, ratio {peer / seconds:.1f}"
        )


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return work(), time.process_time() - started


def some_texts() -> list[str]:
    data = Path.home() / ".cache" / "bessemer-test-data" / "text_en_openstax" / "openstax.jsonl"
    if data.exists():
        return [json.loads(line)["text"] for line in data.read_text("utf-8").splitlines()]
    library = Path(sysconfig.get_path("stdlib"))
    return [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.py"))]


if __name__ == "__main__":
    main()
