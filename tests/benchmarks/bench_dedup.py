"""De-duplication: signatures compared with datasketch, the steps of the stage, and its memory as the corpus grows.

    python -m tests.benchmarks.bench_dedup [--peer PYTHON]

PYTHON is an interpreter that has datasketch (`python -m venv peer && peer/bin/pip install datasketch`); the
peer is in this file too, and runs in that interpreter. Times are processor seconds of one core. The text is the data
set `text_en_openstax` if it is unpacked, else the modules of the standard library.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib import metadata
from pathlib import Path

NUM_HASHES, NGRAM_SIZE = 120, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has datasketch")
    parser.add_argument("--run-peer", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--run-steps", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_peer:
        print(json.dumps(run_peer(json.loads(Path(arguments.run_peer).read_text("utf-8")))))
    elif arguments.run_steps:
        print(json.dumps(run_steps_in(Path(arguments.run_steps))))
    else:
        with tempfile.TemporaryDirectory() as folder:
            texts = some_texts()
            compare_signatures(texts, arguments.peer, Path(folder))
            compare_sketches(texts)
            grow(texts, Path(folder))


def some_texts() -> list[str]:
    data = Path.home() / ".cache" / "bessemer-test-data" / "text_en_openstax" / "openstax.jsonl"
    if data.exists():
        return [json.loads(line)["text"] for line in data.read_text("utf-8").splitlines()]
    library = Path(sysconfig.get_path("stdlib"))
    return [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.py"))]


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def compare_signatures(texts: list[str], peer: str | None, folder: Path) -> None:
    from bessemer.dedup.exact import exact_hashes
    from bessemer.dedup.shingles import shingle_sets
    from bessemer.dedup.signatures import signatures
    from bessemer.dedup.words import find_words

    size = megabytes(texts)
    batches = [texts[i : i + 256] for i in range(0, len(texts), 256)]
    signatures(shingle_sets(find_words(texts[:2]), NGRAM_SIZE), NUM_HASHES, 1)  # tables and libraries are loaded
    began = time.process_time()
    sets = [shingle_sets(find_words(batch), NGRAM_SIZE) for batch in batches]
    shingled = time.process_time()
    for batch_sets in sets:
        signatures(batch_sets, NUM_HASHES, 1)
    signed = time.process_time()
    for batch in batches:
        exact_hashes(batch)
    hashed = time.process_time()
    ours = {"shingles": size / (shingled - began), "signatures": size / (signed - shingled)}
    ours["text to signature"] = size / (signed - began)
    print(f"{len(texts)} texts, {size:.1f} MB; rensa {metadata.version('rensa')}, numpy {metadata.version('numpy')}")
    print(f"  exact hashes                    {size / (hashed - signed):8.1f} MB/s/core")
    theirs: dict[str, float] = {}
    if peer:
        sample = texts[:: max(1, len(texts) // 40)]
        file = folder / "sample.json"
        file.write_text(json.dumps(sample), "utf-8")
        found = json.loads(subprocess.check_output([peer, __file__, "--run-peer", str(file)]))
        print(f"  peer: datasketch {found.pop('version')}, MinHash(num_perm={NUM_HASHES}).update_batch, defaults")
        theirs = {name: megabytes(sample) / seconds for name, seconds in found.items()}
    for name, rate in ours.items():
        compared = f"   peer {theirs[name]:7.2f}   ratio {rate / theirs[name]:6.0f}" if name in theirs else ""
        print(f"  {name:20s} ours        {rate:8.1f} MB/s/core{compared}")


def run_peer(texts: list[str]) -> dict[str, float | str]:
    """Shingles as strings, then signatures, with datasketch."""
    from datasketch import MinHash  # type: ignore[import-not-found]

    began = time.process_time()
    shingles = []
    for text in texts:
        words = re.findall(r"\w+", re.sub(r"\d+", "0", text.lower()))
        shingles.append({" ".join(words[i : i + NGRAM_SIZE]).encode() for i in range(len(words) - NGRAM_SIZE + 1)})
    shingled = time.process_time()
    for found in shingles:
        MinHash(num_perm=NUM_HASHES).update_batch(list(found))
    signed = time.process_time()
    return {
        "version": metadata.version("datasketch"),
        "shingles": shingled - began,
        "signatures": signed - shingled,
        "text to signature": signed - began,
    }


def compare_sketches(texts: list[str]) -> None:
    """Compares time and error of R-MinHash, its `rho` variant, and permutations in numpy, on the same shingles."""
    import numpy as np
    from rensa import RMinHash

    from bessemer.dedup.shingles import jaccard, shingle_sets
    from bessemer.dedup.words import find_words

    generator = random.Random(1)
    sample = [text for text in texts if len(text) > 2000][:100]
    edited = [" ".join(w if generator.random() > 0.03 else "x" + w for w in text.split(" ")) for text in sample]
    sets = shingle_sets(find_words([text for pair in zip(sample, edited, strict=True) for text in pair]), NGRAM_SIZE)
    truth = np.array([jaccard(sets[i], sets[i + 1]) for i in range(0, len(sets), 2)])
    draws = np.random.default_rng(1).integers(0, 2**64, (2, NUM_HASHES), dtype=np.uint64)
    factors, terms = draws[0] | np.uint64(1), draws[1]

    def permuted() -> np.ndarray:
        rows = np.empty((len(sets), NUM_HASHES), np.uint32)
        for index in range(len(sets)):
            for place in range(NUM_HASHES):
                rows[index, place] = ((sets[index] * factors[place] + terms[place]) >> np.uint64(32)).min()
        return rows

    def from_rensa(name: str) -> np.ndarray:
        matrix = getattr(RMinHash, name)(sets.values, sets.offsets.astype(np.uint64), NUM_HASHES, 1)
        return np.asarray(matrix.to_rows(), np.uint32)

    sketches = {
        "rensa R-MinHash (ours)": lambda: from_rensa("digest_matrix_from_flat_token_hashes"),
        "rensa rho": lambda: from_rensa("digest_matrix_from_flat_token_hashes_rho"),
        "numpy permutations": permuted,
    }
    print(f"sketches of {NUM_HASHES} hashes, {len(truth)} pairs of mean Jaccard {truth.mean():.3f}")
    for name, sketch in sketches.items():
        began = time.process_time()
        rows = sketch()
        seconds = time.process_time() - began
        error = (rows[0::2] == rows[1::2]).mean(axis=1) - truth
        rate = len(sets.values) / seconds / 1e6
        print(f"  {name:24s} {rate:8.1f} M shingles/s/core   bias {error.mean():+.3f}   deviation {error.std():.3f}")


def grow(texts: list[str], folder: Path) -> None:
    """Time and peak memory of the stage's steps, on a corpus of edited texts and on one four times as large."""
    import pyarrow as pa

    from bessemer.artifacts.documents import SCHEMA, write_parquet
    from bessemer.fingerprint import content_hash, origin_id

    generator = random.Random(1)

    def edited(text: str, ratio: float) -> str:
        return " ".join(word if generator.random() > ratio else "x" + word for word in text.split(" "))

    print("steps, in parts of one edition of the texts each; editions are edited by 0 to 10 % of their words")
    for num_parts in (3, 12):
        corpus = folder / f"{num_parts}-parts"
        size = 0.0
        for part in range(num_parts):
            rows = []
            for number, text in enumerate(texts):
                url = f"http://a.test/{part}/{number}"
                text = edited(text, generator.choice([0, 0.002, 0.02, 0.1]))
                size += len(text.encode()) / 1e6
                row = {"id": origin_id(url), "text": text, "content_hash": content_hash(text), "url": url}
                rows.append(row | {"source": str(part), "split": "train", "metadata": "{}"})
            write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), corpus / f"{part:05d}.parquet")
        found = json.loads(subprocess.check_output([sys.executable, __file__, "--run-steps", str(corpus)]))
        seconds = found["seconds"]
        total = sum(seconds.values())
        print(f"  {num_parts} parts, {size:.0f} MB: {size / total:.1f} MB/s/core, peak {found['peak'] / 2**20:.0f} MiB")
        print("   ", ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
        counted = found["counted"]
        kept = counted["num_documents"] - counted["num_near_duplicates"]
        print(f"    {counted['num_documents']} documents, {counted['num_pairs']} pairs, at most {kept} stay")


def run_steps_in(folder: Path) -> dict[str, object]:
    """Runs all steps in this process. Peak memory is that of this process (VmHWM; 0 without /proc)."""
    from bessemer.dedup.exchange import Workspace
    from bessemer.dedup.settings import DedupSettings
    from bessemer.dedup.steps import Step, run_steps
    from bessemer.dedup.verdicts import decided, judge

    seconds: dict[str, float] = {}
    settings = DedupSettings()
    workspace = Workspace(folder / "work", tuple(sorted(folder.glob("*.parquet"))), settings)

    def run(step: Step, num_units: int) -> list[dict[str, int]]:
        began = time.process_time()
        receipts = [step.work(workspace, number, num_units) for number in range(num_units)]
        seconds[step.name] = time.process_time() - began
        return receipts

    counted = run_steps(workspace, run)
    began = time.process_time()
    for part in range(len(workspace.parts)):
        for batch in decided(workspace, part):
            judge(batch, settings.threshold)
    seconds["verdicts"] = time.process_time() - began
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return {"seconds": seconds, "counted": counted, "peak": int(found[1]) * 1024 if found else 0}


if __name__ == "__main__":
    main()
