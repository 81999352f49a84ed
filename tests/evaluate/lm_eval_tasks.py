"""Tasks that are declared both for this package and for lm-evaluation-harness, with their few items.

`TASKS` has two declarations per name: this package's and the harness's. A dataset is a name in `ROWS`, and both
declarations get its file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROWS: dict[str, list[dict[str, Any]]] = {
    "choices": [
        {"query": "A queue hands out its items", "choices": ["first in, first out", "last in, first out"], "gold": 0},
        {"query": "The file is closed by", "choices": ["the reader", "nobody", "the with statement"], "gold": 2},
        {"query": "An empty list is", "choices": ["true", "false", "neither", "both"], "gold": 1},
        {"query": "Strings are made of", "choices": ["characters", "bytes", "日本"], "gold": 0},
        {"query": "One line ends with", "choices": ["a line feed", "a bell"], "gold": 0},
        {"query": "The smallest of 3, 1 and 2 is", "choices": ["3", "1", "2"], "gold": 1},
        {"query": "A stack hands out its items\n", "choices": ["last in, first out", "in any order"], "gold": 0},
        {"query": "Naïve readers", "choices": ["read — slowly", "write", "sleep"], "gold": 0},
        {"query": "The reader opens " * 5, "choices": ["a file", "a queue and waits until it is empty"], "gold": 0},
        {"query": "The reader opens " * 80, "choices": ["a file", "a queue and waits until it is empty"], "gold": 1},
    ],
    "letters": [
        {"query": "2 + 2?\nA. 3\nB. 4\nC. 5\nAnswer:", "choices": ["A", "B", "C"], "gold": 1},
        {"query": "First in?\nA. first out\nB. last out\nC. lost\nAnswer:", "choices": ["A", "B", "C"], "gold": 0},
        {"query": "What ends a line?\nA. a bell\nB. a tab\nC. a feed\nAnswer:", "choices": ["A", "B", "C"], "gold": 2},
        {"query": "Who reads?\nA. the reader\nB. a file\nC. a queue\nAnswer:", "choices": ["A", "B", "C"], "gold": 0},
    ],
    "schemas": [
        {"context_options": ["The queue was full, so the writer", "The queue was full, so the queue"],
         "continuation": "had to wait.", "gold": 0},
        {"context_options": ["The lid does not fit because the lid", "The lid does not fit because the jar"],
         "continuation": "is too wide.", "gold": 0},
        {"context_options": ["Ada thanked Grace because Ada", "Ada thanked Grace because Grace"],
         "continuation": "had found the error.", "gold": 1},
        {"context_options": ["The cup fell down since the cup", "The cup fell down since the table"],
         "continuation": "was shaking.", "gold": 1},
        {"context_options": ["The reader asked her, and the reader", "The reader asked her, and the writer"],
         "continuation": "answered.", "gold": 1},
    ],
    "continuations": [
        {"context": "The reader opens a file and returns one", "continuation": " line"},
        {"context": "The writer closes the file and flushes what is", "continuation": " left"},
        {"context": "A queue holds items until somebody takes", "continuation": " them"},
        {"context": "1 2 3 4 5 6 7 8", "continuation": " 9"},
        {"context": "First in, first", "continuation": " out of the queue"},
        {"context": "Which letter is first? Answer:", "continuation": "/"},
    ],
    "pairs": [
        {"sentence_good": "The readers open a file.", "sentence_bad": "The readers opens a file."},
        {"sentence_good": "Nobody ever takes them.", "sentence_bad": "Everybody ever takes them."},
        {"sentence_good": "What did the writer close?", "sentence_bad": "What did the writer close the file?"},
        {"sentence_good": "Those queues hold items.", "sentence_bad": "That queues hold items."},
        {"sentence_good": "The file that she wrote is long.", "sentence_bad": "The file that she wrote are long."},
    ],
    "sums": [
        {"question": "A queue holds 3 items and gets 4 more. How many are there?", "answer": "3 + 4 = 7\n#### 7"},
        {"question": "A file has 1,200 lines, and half of them go. How many stay?", "answer": "1200 / 2\n#### *"},
        {"question": "Two readers read 6 lines each. How many lines?", "answer": "2 * 6 = 12\n#### 12"},
        {"question": "A stack of 9 loses 2 and then 3. What is left?", "answer": "9 - 2 - 3 = 4\n#### $*."},
    ],
    "solved_sums": [
        {"question": "A line has 5 words, the next has 2. How many?", "answer": "5 + 2 = 7\n#### 7"},
        {"question": "Ten files lose one. How many stay?", "answer": "10 - 1 = 9\n#### 9"},
        {"question": "Three queues of four items?", "answer": "3 * 4 = 12\n#### 12"},
    ],
    "questions": [
        {"question": "What closes a file?", "answers": ["The with statement.", "A."]},
        {"question": "What does a queue hold?", "answers": ["items"]},
        {"question": "Who flushes what is left?", "answers": ["the writer", "writer"]},
        {"question": "How many lines are returned?", "answers": ["one", "1", "One line"]},
        {"question": "Which letter is first?", "answers": ["a", "the", "s", "e", "o"]},
    ],
    "translations": [
        {"source": "A queue holds items.", "target": "Eine Schlange hält Dinge."},
        {"source": "The reader opens a file.", "target": "Der Leser öffnet eine Datei."},
        {"source": "Nobody waits.", "target": "Niemand wartet."},
    ],
}  # fmt: skip

_CHOICES = {"doc_to_text": "{{query}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{gold}}"}
_GREEDY = {"do_sample": False, "temperature": 0.0}


def _choices(*metrics: str) -> dict[str, Any]:
    return {"output_type": "multiple_choice", "metric_list": [{"metric": metric} for metric in metrics]}


def _extract(pattern: str) -> list[dict[str, Any]]:
    steps = [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]
    return [{"name": "extract", "filter": steps}]


_SCHEMA = {
    "doc_to_text": "{{gold}}",
    "doc_to_choice": "{{context_options}}",
    "doc_to_target": "{{continuation}}",
    **_choices("acc"),
}
_SUMS = {
    "output_type": "generate_until",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{answer}}",
    "metric_list": [
        {
            "metric": "exact_match",
            "ignore_case": True,
            "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
        }
    ],
    "generation_kwargs": {"until": ["Question:"], "max_gen_toks": 12, **_GREEDY},
}

TASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "choices": (
        {"kind": "multiple_choice", "dataset": "choices", "target_delimiter": " "},
        {"dataset": "choices", **_CHOICES, **_choices("acc", "acc_norm", "acc_mutual_info")},
    ),
    "letters": (
        {"kind": "multiple_choice", "dataset": "letters", "target_delimiter": " ", "metrics": ["acc", "brier_score"]},
        {"dataset": "letters", **_CHOICES, **_choices("acc", "brier_score")},
    ),
    "choices_3_shot": (
        {
            "kind": "multiple_choice", "dataset": "choices", "target_delimiter": " ", "num_fewshot": 3,
            "description": "Answer.\n\n", "limit": 8, "metrics": ["acc", "acc_norm"],
        },
        {
            "dataset": "choices", "num_fewshot": 3, "description": "Answer.\n\n", "limit": 8,
            **_CHOICES, **_choices("acc", "acc_norm"),
        },
    ),
    "conversation_2_shot": (
        {
            "kind": "multiple_choice", "dataset": "choices", "fewshot_dataset": "letters", "num_fewshot": 2,
            "apply_chat_template": True, "description": "Answer.", "limit": 8, "metrics": ["acc"],
        },
        {
            "dataset": "choices", "fewshot_dataset": "letters", "num_fewshot": 2, "description": "Answer.",
            "limit": 8, "conversation": True, **_CHOICES, **_choices("acc"),
        },
    ),
    "schemas": (
        {"kind": "schema", "dataset": "schemas"},
        {"dataset": "schemas", **_SCHEMA},
    ),
    "schemas_2_shot": (
        {"kind": "schema", "dataset": "schemas", "num_fewshot": 2},
        {"dataset": "schemas", "num_fewshot": 2, **_SCHEMA},
    ),
    "continuations": (
        {"kind": "language_modelling", "dataset": "continuations", "target_delimiter": ""},
        {
            "dataset": "continuations", "output_type": "loglikelihood", "doc_to_text": "{{context}}",
            "doc_to_target": "{{continuation}}", "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
        },
    ),
    "pairs": (
        {"kind": "minimal_pairs", "dataset": "pairs"},
        {
            "dataset": "pairs", "doc_to_text": "", "doc_to_target": 0, "target_delimiter": "",
            "doc_to_choice": "{{[sentence_good, sentence_bad]}}", **_choices("acc"),
        },
    ),
    "sums_2_shot": (
        {
            "kind": "generation", "dataset": "sums", "fewshot_dataset": "solved_sums", "num_fewshot": 2,
            "query": "Question: {{question}}\nAnswer:", "references": "answer", "extract": r"([*/])",
            "regexes_to_ignore": [",", r"\$", "(?s).*#### ", r"\.$"], "ignore_case": True,
            "generation": {"temperature": 0, "max_new_tokens": 12, "stop": ["Question:"]},
        },
        {
            "dataset": "sums", "fewshot_dataset": "solved_sums", "num_fewshot": 2, **_SUMS,
            "filter_list": _extract(r"([*/])"),
        },
    ),
    "questions": (
        {
            "kind": "generation", "dataset": "questions", "query": "{{question}} Answer:", "references": "answers",
            "extract": "[a-z]+", "ignore_case": True, "ignore_punctuation": True,
            "generation": {"temperature": 0, "max_new_tokens": 8, "stop": ["\n"]},
        },
        {
            "dataset": "questions", "output_type": "generate_until", "doc_to_text": "{{question}} Answer:",
            "doc_to_target": "{{answers}}",
            "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, **_GREEDY},
            "filter_list": _extract("[a-z]+"),
        },
    ),
    "translations": (
        {
            "kind": "generation", "dataset": "translations", "query": "{{source}} =", "references": "target",
            "extract": "(?s)^.*$",
            "generation": {"temperature": 0, "max_new_tokens": 16, "stop": ["\n"]}, "metrics": ["bleu", "chrf"],
        },
        {
            "dataset": "translations", "output_type": "generate_until", "doc_to_text": "{{source}} =",
            "doc_to_target": "{{target}}", "metric_list": [{"metric": "bleu"}, {"metric": "chrf"}],
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16, **_GREEDY},
        },
    ),
}  # fmt: skip

CONTEXT = 256
TEXTS = ["The reader opens a file and returns one line. " * 3, " items" * 2 * CONTEXT]
"""Texts for perplexity: one is shorter than the model's context, and one has several whole windows."""


def training_texts() -> list[str]:
    """The training texts of the tiny model's tokenizer. They contain no answers, so that answers can change."""
    return [row["query"] for row in ROWS["choices"]] + TEXTS


def write_datasets(folder: Path) -> dict[str, str]:
    """Writes each entry of `ROWS` as JSON lines. Returns the paths by name."""
    paths = {}
    for name, rows in ROWS.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        paths[name] = str(path)
    return paths
