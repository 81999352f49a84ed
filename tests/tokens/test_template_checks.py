"""The checks of a chat template find each kind of problem, and find none in a good template."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bessemer.tokens import chat
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.template_checks import prove
from bessemer.tokens.tokenizer import TokenizerFolder

FORGETFUL = (  # renders earlier answers differently from the last one, as some templates do
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{{ m['content'] if m['role'] != 'assistant' or loop.last else '...' }}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
IMPATIENT = (  # renders the prompt differently once it is answered
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant:\n' }}{% endif %}"
)


def template_of(text: str | None = None) -> ChatTemplate:
    tokenizer = TokenizerFolder.trained(train_tokenizer(["user assistant system. Be brief."] * 9, 300))
    if text is not None:
        tokenizer.settings["chat_template"] = text
    return ChatTemplate.of(tokenizer)


def verdicts(template: ChatTemplate, ends: list[int] | None = None) -> dict[str, bool]:
    return {claim.what: claim.holds for claim in prove(template, template.stop_ids if ends is None else ends)}


def test_our_template_holds() -> None:
    assert verdicts(template_of()) == {"bytes": True, "prompt": True, "history": True, "stop token": True}


def test_a_turn_that_is_rewritten_later_is_found_and_is_no_error() -> None:
    template = template_of(FORGETFUL)
    claims = {claim.what: claim for claim in prove(template, template.stop_ids)}
    assert not claims["history"].holds
    assert not claims["history"].needed
    assert all(claim.holds for claim in claims.values() if claim.needed)


def test_a_prompt_that_changes_once_it_is_answered_is_found() -> None:
    template = template_of(IMPATIENT)
    [prompt, stop] = [claim for claim in prove(template, template.stop_ids) if not claim.holds]
    assert prompt.what == "prompt"
    assert "the prompt has ':" in prompt.found
    assert stop.found == "no answer is learned"


def test_a_model_that_would_not_stop_is_found() -> None:
    template = template_of()
    assert verdicts(template, ends=[template.tokenizer.end_of_text_id]) == {
        "bytes": True, "prompt": True, "history": True, "stop token": False,
    }  # fmt: skip
    [claim] = [claim for claim in prove(template, ()) if not claim.holds]
    assert "does not stop at <|im_end|>" in claim.found


def test_tokens_that_spell_something_else_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = ChatTemplate.encode

    def one_off(self: ChatTemplate, messages: list[chat.Message]) -> chat.Conversation:
        found = encode(self, messages)
        ids = found.ids.copy()
        ids[-3] += 1
        return replace(found, ids=ids)

    template = template_of()
    monkeypatch.setattr(ChatTemplate, "encode", one_off)
    assert not verdicts(template)["bytes"]
