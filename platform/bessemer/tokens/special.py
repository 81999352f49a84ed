"""Tokens that no text can produce: they separate documents, turns of a conversation and parts to fill in.

They take the first ids, in this order, of every tokenizer that Bessemer trains.
"""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"
MASK = "<|mask|>"

SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, MASK)

# ChatML. The text of a conversation's first turns is a prefix of the text of the whole conversation.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
