"""Log-likelihoods equal a direct computation with `transformers`; accuracies are those of lm-evaluation-harness."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from bessemer.errors import InputError
from bessemer.evaluate import likelihood
from bessemer.evaluate.likelihood import Tree, log_likelihoods
from bessemer.evaluate.multiple_choice import multiple_choice
from bessemer.evaluate.questions import Question, read_questions
from bessemer.evaluate.subject import Subject
from bessemer.evaluate.tasks import MultipleChoice

QUESTIONS = [
    Question("1", "The reader opens", ("a file", "a queue", "the"), 0),
    Question("2", "The writer\n\n", ("closes the file and", "x", "日本", "takes them away"), 3),
    Question("3", "", ("one line", "line one"), 1),
    Question("4", "A queue holds items until somebody takes them. " * 3, ("items", "until"), 0),
    Question("5", "clo", ("ses", "se"), 1),
]
TASK = MultipleChoice(kind="multiple_choice", target_delimiter=" ")


@cache
def stock_model(folder: Path) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def direct(folder: Path, context: list[int], continuation: list[int]) -> float:
    """log P(continuation | context) of one row without batch, mask or cache."""
    tokens = torch.tensor([context + continuation])
    with torch.no_grad():
        logs = torch.log_softmax(stock_model(folder)(tokens).logits[0].double(), -1)
    places = range(len(context), tokens.shape[1])
    return sum(float(logs[place - 1, tokens[0, place]]) for place in places)


@pytest.mark.parametrize("batch", [1, 40, 8192], ids=["one tree a batch", "small batches", "one batch"])
def test_a_tree_gives_the_likelihoods_of_separate_rows(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, subject: Subject, batch: int
) -> None:
    monkeypatch.setattr(likelihood, "BATCH_TOKENS", batch)
    trees = [
        Tree([5, 9, 40], [[7], [8, 11, 30, 2], [9, 9]]),
        Tree([17], [[3, 4], [3]]),
        Tree(list(range(20, 32)), [[1, 2, 3], [60, 61], [1], [1, 2]]),
    ]
    for tree, values in zip(trees, log_likelihoods(subject, trees), strict=True):
        expected = [direct(model_folder, tree.context, c) for c in tree.continuations]
        assert values == pytest.approx(expected, rel=1e-4)


def test_a_long_context_loses_its_beginning_and_a_long_choice_is_refused(model_folder: Path, subject: Subject) -> None:
    context, choices = list(range(10, 50)), [[3], [4, 5, 6]]
    (values,) = log_likelihoods(subject, [Tree(context, choices)])
    kept = context[-(24 + 1 - 3) :]
    assert values == pytest.approx([direct(model_folder, kept, c) for c in choices], rel=1e-4)
    with pytest.raises(InputError, match="a choice has 25 tokens"):
        log_likelihoods(subject, [Tree([1], [[2], [3] * 25])])


def test_accuracies_are_those_of_lm_evaluation_harness(model_folder: Path, subject: Subject) -> None:
    """The formulas of its `ConfigurableTask.process_results` and `_encode_pair`, written out for single requests."""
    encode = subject.tokenizer.encode

    def request(context: str, continuation: str) -> float:
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        whole, known = encode(context + continuation), encode(context)
        known = [subject.tokenizer.end_of_text_id] if not context else known
        target = whole if not context else whole[len(known) :]
        known = known[-(24 + 1 - max(len(target), 1)) :]
        return direct(model_folder, known, target)

    result = multiple_choice(TASK, subject, QUESTIONS)
    expected: dict[str, list[float]] = {"acc": [], "acc_norm": [], "acc_mutual_info": []}
    for question, row in zip(QUESTIONS[:4], result.items.to_pylist(), strict=False):
        found = np.array([request(question.query, f" {choice}") for choice in question.choices])
        alone = np.array([request("", f" {choice}") for choice in question.choices])
        if not row["context_was_cut"]:
            assert row["log_likelihoods"] == pytest.approx(found.tolist(), rel=1e-4)
        assert row["log_likelihoods_alone"] == pytest.approx(alone.tolist(), rel=1e-4)
        lengths = np.array([float(len(choice)) for choice in question.choices])
        expected["acc"].append(float(np.argmax(found) == question.gold))
        expected["acc_norm"].append(float(np.argmax(found / lengths) == question.gold))
        expected["acc_mutual_info"].append(float(np.argmax(found - alone) == question.gold))
    for metric, values in expected.items():
        assert result.items[metric].to_pylist()[:4] == values
    assert result.items["context_was_cut"].to_pylist() == [False, False, False, True, False]


def test_scores_have_error_count_and_chance(subject: Subject) -> None:
    result = multiple_choice(TASK, subject, QUESTIONS)
    for score in result.scores:
        right = result.items[score.metric].to_numpy()
        share = right.mean()
        assert (score.value, score.n) == (share, 5)
        assert score.standard_error == pytest.approx(math.sqrt(share * (1 - share) / 4))
        assert score.chance == pytest.approx((1 / 3 + 1 / 4 + 3 / 2) / 5)
    assert multiple_choice(TASK.model_copy(update={"limit": 2}), subject, QUESTIONS).scores[0].n == 2


def test_lines_that_are_no_questions_are_named_together(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    good = {"query": "q", "choices": ["a", "b"], "gold": 1}
    bad = [{}, good | {"choices": ["a"]}, good | {"gold": 2}, good | {"gold": True}, good | {"choices": ["a", ""]}]
    path.write_text("\n".join([json.dumps(good), "{", "", *map(json.dumps, bad)]))
    with pytest.raises(InputError) as caught:
        read_questions([path])
    message = caught.value.message
    assert "`asked.jsonl` line 2: no JSON" in message
    assert "line 3: no `query`" in message
    assert "and 3 more" in message


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["absent", "empty", "binary"])
def test_a_file_without_questions_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "asked.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError):
        read_questions([path])


def test_public_question_files_are_read(dataset: object) -> None:
    folder = dataset("eval_gauntlet")
    assert len(read_questions([folder / "arc_easy.jsonl"])) == 2376
