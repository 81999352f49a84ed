"""The special tokens, which no text can produce. They separate documents, turns of a conversation and infill parts.

They have the first ids, in this order, in every tokenizer that Bessemer trains.
"""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"
MASK = "<|mask|>"

SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, MASK)

NAMED_TEMPLATES = "additional_chat_templates/*.jinja"
"""The files in which `transformers` stores the named chat templates of a tokenizer with several templates."""

CHAT_TEMPLATE = (
    "{% if tools %}"
    "{{ '<|im_start|>system\\n' }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n\\n' }}{% endif %}"
    "{{ 'These functions can be called:\\n<tools>\\n' }}"
    "{% for tool in tools %}{{ tool | tojson + '\\n' }}{% endfor %}"
    "{{ '</tools>\\nA call is written as JSON:\\n' }}"
    '{{ \'<tool_call>\\n{"name": "...", "arguments": {...}}\\n</tool_call><|im_end|>\\n\' }}'
    "{% endif %}"
    "{% for message in messages %}{% if not (tools and loop.first and message['role'] == 'system') %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['reasoning_content'] %}"
    "{{ '<think>\\n' + message['reasoning_content'] + '\\n</think>\\n\\n' }}"
    "{% endif %}"
    "{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}"
    "{% set function = call['function'] or call %}{% set arguments = function['arguments'] %}"
    "{{ '\\n' if message['content'] or not loop.first else '' }}"
    "{{ '<tool_call>\\n{\"name\": ' + (function['name'] | tojson) + ', \"arguments\": ' }}"
    "{{ arguments if arguments is string else (arguments or {}) | tojson }}"
    "{{ '}\\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML, with tool calls in the format of Hermes and reasoning in `<think>`.

The text of a conversation's first turns is a prefix of the text of the whole conversation.
"""
