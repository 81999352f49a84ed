"""Generated answers: the model's prompt, the end of an answer, and the standard errors of corpus metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.evaluate.lm_eval_tasks import training_texts
from tests.evaluate.tiny_model import make_tiny_model

from bessemer.errors import BessemerError
from bessemer.evaluate import text_metrics
from bessemer.evaluate.encoding import prompt_tokens
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import generation as module
from bessemer.evaluate.kinds.generation import Generation, GenerationItem, extracted, measures, score_items
from bessemer.evaluate.prompts import Preface
from bessemer.generate.settings import GenerationSettings

ANSWERS = ["the cat sat on the mat", "a queue holds items", "nobody waits for the reader", "one line"]
REFERENCES = [
    ["the cat sat on a mat"],
    ["a queue holds its items", "queues hold items"],
    ["nobody waits"],
    ["one line"],
]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedModel:
    """A model with a context that is long enough for a conversation."""
    folder = tmp_path_factory.mktemp("talking")
    make_tiny_model(folder, training_texts(), max_seq_length=128)
    return EvaluatedModel.load(folder, dtype=torch.float32, device=torch.device("cpu"))


def task(**settings: Any) -> Generation:
    declared = {"kind": "generation", "dataset": "x", "query": "q", "references": "r"}
    return Generation.model_validate(declared | settings)


def test_the_model_is_given_the_prompt_and_cut_prompts_are_marked(subject: EvaluatedModel) -> None:
    settings = GenerationSettings(max_new_tokens=4, temperature=0)
    items = [
        GenerationItem("1", "short", "The reader", ("opens",)),
        GenerationItem("2", "long", "The reader opens a file. " * 9, ("opens",)),
    ]
    result = score_items(task(generation=settings), subject, items)
    first, second = result.items.to_pylist()
    assert first["completion"] == subject.generator.generate(["The reader"], settings)[0].text
    kept = subject.tokenizer.decode(subject.tokenizer.encode(items[1].query)[-20:])
    assert second["completion"] == subject.generator.generate([kept], settings)[0].text
    assert [row["context_was_cut"] for row in (first, second)] == [False, True]
    assert {score.group for score in result.scores} == {None, "short", "long"}


def test_a_conversation_goes_through_the_chat_template(
    talking: EvaluatedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template makes the prompt, and its stop tokens end the answer."""
    preface = Preface("Be brief.", (("2 + 2?", "4"),), is_conversation=True)
    item = GenerationItem("1", None, "3 + 3?", ("6",), preface=preface)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3 + 3?"},
    ]
    assert prompt_tokens(talking, preface, item.query) == talking.chat.prompt(messages).tolist()
    settings = task(generation=GenerationSettings(max_new_tokens=3, temperature=0), apply_chat_template=True)
    whole = score_items(settings, talking, [item]).items.to_pylist()[0]
    assert whole["finish_reason"] == "length"
    written = talking.complete([prompt_tokens(talking, preface, item.query)], settings.generation)[0].tokens
    monkeypatch.setitem(talking.chat.__dict__, "stop_ids", (written[1],))
    talking.__dict__.pop("_chat_generator", None)
    ended = score_items(settings, talking, [item]).items.to_pylist()[0]
    talking.__dict__.pop("_chat_generator", None)
    assert ended["finish_reason"] == "stop"
    assert whole["completion"].startswith(ended["completion"])


def test_the_error_of_a_corpus_metric_is_the_jackknife_of_leaving_items_out() -> None:
    """For a mean over items, the jackknife equals the standard error of the mean: standard deviation / sqrt(n)."""

    def mean_length(answers: Any, references: Any) -> float:
        return sum(map(len, answers)) / len(answers)

    score = module._corpus_score("m", mean_length, ANSWERS, REFERENCES, None)
    lengths = torch.tensor([float(len(answer)) for answer in ANSWERS])
    assert score.value == pytest.approx(lengths.mean().item())
    assert score.standard_error == pytest.approx(lengths.std().item() / 2)
    alone = module._corpus_score("m", mean_length, ANSWERS[:1], REFERENCES[:1], None)
    assert alone.standard_error is None


def test_bleu_and_chrf_of_a_task_are_those_of_the_corpus(
    subject: EvaluatedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not the means over items, which are smaller."""
    items = [GenerationItem(str(i), None, "The", tuple(several)) for i, several in enumerate(REFERENCES)]
    texts = iter(ANSWERS)
    monkeypatch.setattr(module, "extracted", lambda *_: next(texts))
    settings = task(metrics=("bleu", "chrf"), generation=GenerationSettings(max_new_tokens=1, temperature=0))
    scores = {score.metric: score for score in score_items(settings, subject, items).scores}
    assert scores["bleu"].value == pytest.approx(text_metrics.bleu(ANSWERS, REFERENCES, "13a"))
    assert scores["chrf"].value == pytest.approx(text_metrics.chrf(ANSWERS, REFERENCES))
    assert all(score.standard_error and score.standard_error > 0 for score in scores.values())


REWARDS = """
def worth(completions, answer, weight, **columns):
    return [weight[n] * len(text) + len(answer[n]) for n, text in enumerate(completions)]

def undecided(completions, **columns):
    return [None] * len(completions)

def broken(completions, **columns):
    raise ValueError("no")
"""


def test_answers_are_measured_by_functions_of_ones_own(subject: EvaluatedModel, tmp_path: Path) -> None:
    """Each function gets the columns of the item's row. `reward` is their weighted sum and a headline metric."""
    file = tmp_path / "rewards.py"
    file.write_text(REWARDS)
    function = {"kind": "function", "file": str(file)}
    rewards = [function | {"name": "worth", "weight": 2.0}, {"kind": "length", "target": 4}]
    items = [
        GenerationItem(str(n), None, query, ("opens",), row={"weight": n})
        for n, query in enumerate(["The reader", "A queue", "Nobody"])
    ]
    settings = GenerationSettings(max_new_tokens=4, temperature=0)
    declared = task(generation=settings, rewards=rewards)
    assert declared.headlines == ("exact_match", "reward")
    result = score_items(declared, subject, items)
    rows = result.items.to_pylist()
    for n, row in enumerate(rows):
        assert row["reward_worth"] == n * len(row["completion"]) + len("opens")
        assert row["reward"] == pytest.approx(2 * row["reward_worth"] + row["reward_length"])
    (score,) = [score for score in result.scores if score.metric == "reward"]
    assert (score.value, score.n) == (pytest.approx(sum(row["reward"] for row in rows) / 3), 3)

    for name, message in (("broken", "ValueError: no"), ("undecided", "have no number|None"), ("absent", "absent")):
        with pytest.raises(BessemerError, match=message):
            score_items(task(generation=settings, rewards=[function | {"name": name}]), subject, items)


def test_a_question_that_is_asked_twice_has_two_answers(subject: EvaluatedModel) -> None:
    """Each item has its own random numbers."""
    items = [GenerationItem(str(n), None, "The reader", ("x",)) for n in range(3)]
    sampled = GenerationSettings(temperature=1, top_p=1, max_new_tokens=8)
    found = score_items(task(generation=sampled), subject, items).items["completion"].to_pylist()
    assert len(set(found)) == 3


def test_the_answer_is_found_in_what_was_written() -> None:
    written = "6 - 2 = 4\n#### 1,4 and then #### 5."
    assert extracted(task(), "  4 \n") == "4"
    assert extracted(task(extract=r"#### ([0-9,]+)"), written) == "1,4"
    assert extracted(task(extract=r"#### [0-9,]+", extract_last=True), written) == "#### 5"
    assert extracted(task(extract="nowhere"), written) == ""


@pytest.mark.parametrize(
    ("settings", "answer", "reference"),
    [
        ({"ignore_case": True}, "Paris", "PARIS"),
        ({"ignore_punctuation": True}, "U.S.", "US"),
        ({"ignore_articles": True}, "The  onion", "onion"),
        ({"regexes_to_ignore": (",", "(?s).*#### ")}, "1,200", "1000 + 200\n#### 1200"),
    ],
)
def test_exact_match_ignores_what_it_is_told_to(settings: dict[str, object], answer: str, reference: str) -> None:
    assert measures(task(**settings), answer, [reference], []) == {"exact_match": 1.0}
    assert measures(task(), answer, [reference], []) == {"exact_match": 0.0}


def test_the_best_reference_counts() -> None:
    assert measures(task(metrics=("f1",)), "red onion", ["leek", "onion"], []) == {"f1": pytest.approx(2 / 3)}


def test_an_answer_stands_between_correct_and_incorrect_ones() -> None:
    """TruthfulQA: the best value over each side, the difference, and which side is more similar."""
    found = measures(
        task(incorrect="i", metrics=("rouge1",)), "they pass through you", ["they pass", "no"], ["you die"]
    )
    assert found == {
        "rouge1_max": pytest.approx(2 / 3),
        "rouge1_diff": pytest.approx(2 / 3 - 1 / 3),
        "rouge1_acc": 1.0,
    }
