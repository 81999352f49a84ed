"""Chat templates similar to those of open model families, and conversations of many shapes, for tests.

`{% generation %}` marks the text of the assistant. `unmarked` removes the marks from a template.
"""

from __future__ import annotations

import re
from typing import Any

import tokenizers

from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

TRIMMING = """
{{- bos_token }}
{%- if tools %}{{ '<|turn|>tools\n' }}{% for tool in tools %}{{ tool | tojson(indent=2) + '\n' }}{% endfor %}{{ '<|eot|>' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' and m.tool_calls %}
{{- '<|turn|>assistant\n\n' }}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- generation %}{{- '{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}
{{- m.tool_calls[0].function.arguments | tojson + '}<|eom|>' }}{% endgeneration %}
{%- elif m.role == 'assistant' %}
{{- '<|turn|>assistant\n\n' }}{% generation %}{{ m.content | trim + '<|eot|>' }}{% endgeneration %}
{%- elif m.role == 'tool' %}
{{- '<|turn|>tool\n\n' + (m.content | tojson) + '<|eot|>' }}
{%- else %}
{{- '<|turn|>' + m.role + '\n\n' + m.content | trim + '<|eot|>' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|turn|>assistant\n\n' }}{% endif %}
"""  # noqa: E501
"""Like Llama 3: contents are trimmed, tool results are JSON, and calls and answers end with different tokens."""

THINKING = """
{%- if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}
{%- set last = namespace(user=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role != 'assistant' %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- else %}
{%- set content = m.content or '' %}{% set thought = m.reasoning_content or '' %}
{%- if '</think>' in content %}
{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\n') %}
{%- endif %}
{{- '<|im_start|>assistant\n' }}
{%- generation %}
{%- if loop.index0 > last.user and (loop.last or thought) %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}
{{- content }}
{%- for call in m.tool_calls or [] %}{{ '<tool_call>' + call.function | tojson + '</tool_call>' }}{% endfor %}
{{- '<|im_end|>' }}{% endgeneration %}{{ '\n' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}
"""
"""Like Qwen3: an empty think block precedes the last answer, and earlier turns lose their reasoning."""

PREFILLED = """
{{- bos_token }}{% for m in messages %}
{%- if m.role == 'assistant' %}
{{- '<|Assistant|>' }}{% generation %}{{ m.content.split('</think>')[-1] + '<|end|>' }}{% endgeneration %}
{%- else %}{{ '<|' + m.role + '|>' + m.content }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}
"""
"""Like DeepSeek-R1's distilled models: the generation prompt opens a think block that training never contains."""

CHANNELS = """
{%- for m in messages %}{% if m.role == 'assistant' %}
{{- '<|start|>assistant' }}{% generation %}
{%- if m.thinking and loop.last %}{{ '<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}
{%- if m.thinking and loop.last %}{{ '<|start|>assistant' }}{% endif %}
{{- '<|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') }}{% endgeneration %}
{%- else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}
"""
"""Like gpt-oss: the last answer ends with a different token than earlier answers."""

TEMPLATES = {"trimming": TRIMMING, "thinking": THINKING, "prefilled": PREFILLED, "channels": CHANNELS}
SPECIAL = (
    "<s>", "<|turn|>", "<|eot|>", "<|eom|>", "<|Assistant|>", "<|user|>", "<|system|>", "<|tool|>", "<|end|>",
    "<|start|>", "<|channel|>", "<|message|>", "<|return|>",
)  # fmt: skip
PLAIN = ("<think>", "</think>", "<tool_call>", "</tool_call>")
TEXTS = (
    "Hello there, how are you today? I am fine.\n\nThank you! What is 2 + 2? It is 4.",
    'system user assistant tool {"temp": 20} The weather in Paris is 20 degrees.\n\n\n    def f():\n        return 1\n',
)


def unmarked(template: str) -> str:
    return re.sub(r"\{%-? (end)?generation -?%\}", "", template.replace("{%- generation %}\n", ""))


def tokenizer_with(template: str | None) -> TokenizerFolder:
    """A small tokenizer with the special tokens of the templates."""
    trained = train_tokenizer(list(TEXTS) * 20, 600)
    trained.add_special_tokens(list(SPECIAL))
    trained.add_tokens([tokenizers.AddedToken(text, special=False, normalized=False) for text in PLAIN])
    found = TokenizerFolder.trained(trained)
    found.settings |= {"chat_template": template, "bos_token": "<s>"}
    found.settings["additional_special_tokens"] += [token for token in SPECIAL if token != "<s>"]
    return found


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text, "tool_call_id": "1"}


SYSTEM = {"role": "system", "content": "Be kind. "}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}]
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "plain": ([user("Hi"), said("Hello there.")], {}),
    "system": ([SYSTEM, user("Hi"), said("Hello.")], {}),
    "turns": ([user("A?"), said("B."), user("C?"), said("D."), user("E?"), said("F.")], {}),
    "blanks": ([user("  Write code.\n"), said("one \n"), user("more "), said("  two  \n")], {}),
    "indented": ([user("Write code."), said("    def f():\n        return 1")], {}),
    "scripts": ([user("日本語 🙂 ¿Qué?"), said("नमस्ते — مرحبا 👩‍👩‍👧 e\u0301")], {}),
    "thought inside": ([user("2 + 2?"), said("<think>\nTwo.\n</think>\n\nIt is 4.")], {}),
    "thoughts": ([user("2?"), said("4", reasoning_content="Two."), user("3?"), said("6", reasoning_content="3.")], {}),
    "thinking": ([user("2 + 2?"), said("It is 4.", thinking="Two and two.")], {}),
    "word": ([user("What does </think> mean?"), said("It closes a thought.")], {}),
    "tools": ([user("Weather?"), said("", tool_calls=CALLS), result('{"temp": 20}'), said("20.")], {"tools": TOOLS}),
    "null": ([user("Weather?"), said(None, tool_calls=CALLS), result(""), said("Silence.")], {"tools": TOOLS}),
    "call and text": (
        [SYSTEM, user("Weather?"), said("Look.", tool_calls=CALLS), result("x"), said("Y"), user("Z?"), said("!")],
        {"tools": TOOLS},
    ),
    "call last": ([user("Weather?"), said("", tool_calls=CALLS)], {"tools": TOOLS}),
    "two calls": ([user("Weather?"), said("", tool_calls=CALLS * 2), result("1"), result("2"), said("3")], {}),
}
