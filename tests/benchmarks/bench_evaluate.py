"""Multiple-choice items scored per second, compared with lm-evaluation-harness (hf backend).

    python -m tests.benchmarks.bench_evaluate [--peer PYTHON] [--rounds 3] [--items 1000] [--num-fewshot 0]

PYTHON is the interpreter of an environment with `lm-eval[hf]`; without it the peer's column is empty. The items are
made from the Python reference manual in every interpreter (`pydoc_data.topics`): which of four sentences continues a
passage. Both sides get the same file, the same weights (a random model of the quickstart's shape, as an exported
folder) and the same number type. The measured time is from reading the file to the accuracy, with the model already
loaded. The rounds of both sides are interleaved, and the best round counts. On a CPU the time is the processor time of
one thread, so the load of the machine has little effect. The peer runs with the best of several batch sizes. In fp32
the accuracies must be equal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.materials import Materials
from bessemer.model import hub
from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

VOCABULARY, CONTEXT = 8192, 512

PEER = """
import json, logging, sys, time, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
from importlib.metadata import version
import lm_eval, torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
given = json.loads(sys.stdin.readline())
cpu = given["device"] == "cpu"
clock = time.process_time if cpu else time.perf_counter
if cpu:
    torch.set_num_threads(1)
model = HFLM(pretrained=given["model"], dtype=given["dtype"], device=given["device"], max_length=given["context"])
config = {
    "task": "bench", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": given["dataset"]}},
    "test_split": "test", "fewshot_split": "test", "num_fewshot": given["num_fewshot"],
    "output_type": "multiple_choice", "doc_to_text": "{{query}}", "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{gold}}", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
manager = TaskManager(include_defaults=False)
def measure(batch_size):
    model.batch_size_per_gpu = batch_size
    start = clock()
    found = lm_eval.simple_evaluate(
        model=model, tasks=[config], bootstrap_iters=0, task_manager=manager, log_samples=False
    )
    return clock() - start, found["results"]["bench"]["acc,none"]
sizes = given["batch_sizes"]
times = {size: measure(size)[0] for size in sizes}
best = min(times, key=times.get)
versions = {name: version(name) for name in ("lm-eval", "transformers", "torch")}
print("@" + json.dumps({"batch_size": best, "versions": versions}), flush=True)
for _ in sys.stdin:
    seconds, acc = measure(best)
    print("@" + json.dumps({"seconds": seconds, "acc": acc}), flush=True)
"""


def make_items(count: int) -> list[dict[str, Any]]:
    """Passages of the manual, each with the next sentence and three sentences from other places."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name] for name in sorted(topics)).split())
    sentences = [sentence for sentence in text.split(". ") if 20 <= len(sentence) <= 160]
    items = []
    for number in range(count):
        place = number * 7 % (len(sentences) - 5)
        choices = [sentences[(place + 4 + step * 997) % len(sentences)] for step in range(4)]
        gold = number % 4
        choices[0], choices[gold] = choices[gold], choices[0]
        items.append({"query": ". ".join(sentences[place : place + 4]) + ".", "choices": choices, "gold": gold})
    return items


class Peer:
    """The peer's process. It loads the model once, then runs one round per input line."""

    def __init__(self, python: Path, settings: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [python, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.about = self.ask(json.dumps(settings))

    def ask(self, line: str = "") -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for answer in self.process.stdout:
            if answer.startswith("@"):
                return dict(json.loads(answer[1:]))
        raise RuntimeError(f"the peer ended with status {self.process.wait()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="an interpreter that has lm-eval")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--num-fewshot", type=int, default=0)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    items = make_items(options.items)
    model = Transformer(ModelShape().resolve(vocab_size=VOCABULARY, max_seq_length=CONTEXT))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.05, generator=generator)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [item["query"] + " " + " ".join(item["choices"]) for item in items]
        tokenizer = TokenizerFolder.trained(train_tokenizer(texts, vocab_size=VOCABULARY))
        tokenizer.save(folder)
        hub.export_model(model, folder, stop_ids=[tokenizer.end_of_text_id])
        dataset = folder / "items.jsonl"
        dataset.write_text("".join(json.dumps(item) + "\n" for item in items))
        lengths = [len(tokenizer.encode(text)) for text in texts]
        print(
            f"{len(items)} items of {sum(lengths) / len(lengths):.0f} tokens with four choices, {options.num_fewshot} "
            f"solved items; {model.config.num_parameters() / 1e6:.2f}M parameters, {device}, "
            f"{torch.get_num_threads()} thread, torch {torch.__version__}"
        )
        for dtype in options.dtype:
            compare(folder, dataset, getattr(torch, dtype), device, options)


def compare(folder: Path, dataset: Path, dtype: torch.dtype, device: torch.device, options: Any) -> None:
    """Prints one line with the best round of each side."""
    subject = EvaluatedModel.load(folder, dtype=dtype, device=device)
    task = MultipleChoice(
        kind="multiple_choice",
        dataset=str(dataset),
        target_delimiter=" ",
        num_fewshot=options.num_fewshot,
        metrics=("acc", "acc_norm"),
    )
    number_type = str(dtype).removeprefix("torch.")
    settings = {
        "model": str(folder),
        "dtype": number_type,
        "device": str(device),
        "context": CONTEXT,
        "dataset": str(dataset),
        "num_fewshot": options.num_fewshot,
        "batch_sizes": [4, 16, 64] if device.type == "cpu" else [64, 256, 1024],
    }
    peer = Peer(options.peer, settings) if options.peer else None
    ours, theirs = [], []
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for _ in range(options.rounds):
        start = clock()
        result = task.score(Materials(subject))
        if device.type == "cuda":
            torch.cuda.synchronize()
        ours.append(clock() - start)
        if peer:
            answer = peer.ask()
            theirs.append(answer["seconds"])
            acc = next(score.value for score in result.scores if score.metric == "acc")
            assert dtype != torch.float32 or abs(acc - answer["acc"]) < 1e-9, "the accuracies differ"
    line = f"{number_type:9} bessemer {options.items / min(ours):8.1f} items/s"
    if peer:
        about = " ".join(f"{name} {version}" for name, version in peer.about["versions"].items())
        line += f", lm-eval {options.items / min(theirs):8.1f} (batch {peer.about['batch_size']}; {about})"
        line += f", ours is {min(theirs) / min(ours):.2f}x"
        peer.process.kill()
    print(line, flush=True)


if __name__ == "__main__":
    main()
