"""Contexts and continuations have the same tokens as in lm-evaluation-harness by default, BOS included.

The expected tokens follow `HFLM.tok_encode`, `_encode_pair` and `loglikelihood` of lm-eval 0.4.13, reimplemented with
the tokenizer of `transformers`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bessemer.evaluate.encoding import Asked, prompt_tokens, trees
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.likelihood import log_likelihoods
from bessemer.evaluate.prompts import Preface
from bessemer.generate.engine import Generator
from bessemer.generate.settings import GenerationSettings

BEGIN = "<|fim_prefix|>"
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {BEGIN: {"id": BEGIN, "ids": [3], "tokens": [BEGIN]}},
}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "adds none": (None, {}),
    "adds BOS, as Llama 3": ({"type": "Sequence", "processors": [BYTES, TEMPLATE]}, {"bos_token": BEGIN}),
    "adds BOS and names none": (TEMPLATE, {}),
    "names BOS and adds none": (BYTES, {"bos_token": BEGIN}),
    "says it adds BOS and does not": (BYTES, {"bos_token": BEGIN, "add_bos_token": True}),
    "ends texts as instructed models do": (None, {"eos_token": "<|im_end|>"}),
}
PAIRS = [("The reader", " opens a file"), ("The reader opens  ", "a file"), ("", "The writer"), ("A queue", " holds")]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, model_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with a tokenizer that puts a different token, or none, before a text."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    processor, settings = KINDS[request.param]
    for name, change in (("tokenizer.json", {"post_processor": processor}), ("tokenizer_config.json", settings)):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (folder / "special_tokens_map.json").unlink()
    return folder


def theirs(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    if context == "":
        prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        return [prefix], tokenizer.encode(continuation, add_special_tokens=False)
    count = len(context) - len(context.rstrip())
    if count:
        continuation, context = context[-count:] + continuation, context[:-count]
    whole, before = tokenizer.encode(context + continuation), tokenizer.encode(context)
    return before, whole[len(before) :]


def test_tokens_and_likelihoods_are_those_of_lm_eval(kind: Path) -> None:
    subject = EvaluatedModel.load(kind, dtype=torch.float32, device=torch.device("cpu"))
    stock = transformers.AutoModelForCausalLM.from_pretrained(kind, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(kind)
    found = trees(subject, [Asked(Preface(target_delimiter=""), context, [after]) for context, after in PAIRS])
    for (context, after), tree, likelihood in zip(PAIRS, found, log_likelihoods(subject, found), strict=True):
        before, continuation = theirs(tokenizer, context, after)
        assert (tree.context, tree.continuations) == (before, [continuation])
        with torch.no_grad():
            logits = stock(torch.tensor([before + continuation])).logits[0, len(before) - 1 : -1]
        nats = logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None]).sum().item()
        assert likelihood.nats[0] == pytest.approx(nats, abs=1e-3)


def test_a_prompt_is_what_transformers_reads(kind: Path) -> None:
    """With equal prompts, generation starts from the same first token."""
    subject = EvaluatedModel.load(kind, dtype=torch.float32, device=torch.device("cpu"))
    stock = transformers.AutoModelForCausalLM.from_pretrained(kind, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(kind)
    endless = Generator(subject.model, subject.tokenizer, frozenset())
    greedy = GenerationSettings(temperature=0, max_new_tokens=8)
    for text in ("The reader opens", "A"):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert prompt_tokens(subject, Preface(), text) == ids[0].tolist()
        stock.generation_config.eos_token_id = None
        with torch.no_grad():
            written = stock.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=0
            )[0, ids.shape[1] :].tolist()
        assert list(endless.generate([text], greedy)[0].tokens) == written
