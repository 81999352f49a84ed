"""Generates `chat_vectors.json`: token ids and masks of `transformers` for conversations in several chat templates.

    python tests/tokens/make_chat_vectors.py

A vector has the ids of the conversation, the ids of its prompt (all messages but the last, with a generation prompt)
and the mask of the assistant's tokens. It is null if `transformers` rejects the conversation.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import transformers
from tests.tokens.chat_templates import CONVERSATIONS, TEMPLATES, tokenizer_with

from bessemer.tokens.chat_jinja import REFUSALS


def vector(tokenizer: Any, messages: list[dict[str, Any]], variables: dict[str, Any]) -> dict[str, Any] | None:
    try:
        whole = tokenizer.apply_chat_template(
            messages, **variables, return_dict=True, return_assistant_tokens_mask=True
        )
        prompt = tokenizer.apply_chat_template(messages[:-1], **variables, return_dict=True, add_generation_prompt=True)
    except REFUSALS as error:
        print(f"refused: {error}")
        return None
    mask = "".join(map(str, whole["assistant_masks"]))
    return {"ids": whole["input_ids"], "prompt": prompt["input_ids"], "mask": mask}


def main() -> None:
    found: dict[str, Any] = {"transformers": transformers.__version__}
    for name, template in TEMPLATES.items():
        with tempfile.TemporaryDirectory() as folder:
            tokenizer_with(template).save(Path(folder))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            found[name] = {case: vector(tokenizer, *given) for case, given in CONVERSATIONS.items()}
    lines = [f' "transformers": "{found.pop("transformers")}"']
    for name, cases in found.items():
        inner = ",\n".join(f'  "{case}": {json.dumps(given)}' for case, given in cases.items())
        lines.append(f' "{name}": {{\n{inner}\n }}')
    Path(__file__).with_name("chat_vectors.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
