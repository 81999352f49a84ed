"""Fills in a blank in a text, with a masked model or with a left-to-right model trained to fill in the middle.

A masked model does not know how many tokens are missing, so every length up to `LONGEST_BLANK` is tried. For each
length, the masks are filled one per pass (mask-predict). Each pass fills the mask with the most certain prediction, and
later passes see it. The length with the highest mean log-likelihood per token is used.
"""

from __future__ import annotations

from pathlib import Path

import torch

from bessemer.errors import UsageError
from bessemer.generate.engine import Generator
from bessemer.generate.settings import GenerationSettings
from bessemer.model import hub
from bessemer.model.finite import check_finite
from bessemer.model.hardware import choose_device
from bessemer.model.transformer import Transformer
from bessemer.tokens.infill import Sentinels, infill_prompt
from bessemer.tokens.special import MASK
from bessemer.tokens.tokenizer import TokenizerFolder

BLANK = "___"
LONGEST_BLANK = 8
"""Maximum number of tokens with which a masked model fills a blank."""


def fill(folder: Path, text: str, settings: GenerationSettings) -> str:
    """Returns `text` with its blank (`___`) filled in by the model in a Hugging Face folder.

    Raises UsageError if the text has no blank or several, if it is too long, or if the tokenizer lacks the special
    tokens for filling in the middle.
    """
    before, *rest = text.split(BLANK)
    if len(rest) != 1:
        raise UsageError(
            f"the text has {len(rest)} blanks, but needs exactly one",
            hint=f"write `{BLANK}` once, at the place of the missing text",
        )
    after = rest[0]
    if hub.load_config(folder).is_causal:
        return before + _middle(Generator.load(folder), before, after, settings) + after
    tokenizer = TokenizerFolder.open(folder)
    model = hub.load_model(folder, dtype=hub.stored_dtype(folder), device=choose_device()).eval()
    return before + _masked(model, tokenizer, before, after) + after


def _middle(generator: Generator, before: str, after: str, settings: GenerationSettings) -> str:
    sentinels = Sentinels.of(generator.tokenizer)
    if sentinels is None:
        raise UsageError(
            "the model's tokenizer has no special tokens for filling in the middle",
            hint="train with `objective: {causal: 0.5, fill_in_the_middle: 0.5}` and a tokenizer made by Bessemer",
        )
    prompt = infill_prompt(generator.tokenizer, sentinels, before, after)
    return generator.complete([prompt], [settings])[0].text


@torch.inference_mode()
def _masked(model: Transformer, tokenizer: TokenizerFolder, before: str, after: str) -> str:
    mask = tokenizer.special_id(MASK)
    assert mask is not None, "a masked model was trained with a mask token"
    left, right = tokenizer.encode(before), tokenizer.encode(after)
    room = model.config.max_position_embeddings - len(left) - len(right)
    if room < 1:
        raise UsageError(
            f"the text has {len(left) + len(right)} tokens, which leaves no room for the blank in the model's context "
            f"of {model.config.max_position_embeddings}",
            hint="shorten the text on both sides of the blank",
        )
    device = model.embed_tokens.device
    special = torch.tensor([index for index, size in enumerate(tokenizer.token_bytes) if size == 0], device=device)
    best, answer = -torch.inf, ""
    for count in range(1, min(room, LONGEST_BLANK) + 1):
        tokens = torch.tensor([*left, *[mask] * count, *right], device=device)
        open_places = list(range(len(left), len(left) + count))
        total = 0.0
        while open_places:
            places = torch.tensor(open_places, device=device)
            logits = check_finite(model(tokens[None], at=(torch.zeros_like(places), places), causal=False).float())
            logits[:, special] = -torch.inf
            likelihoods, likeliest = logits.log_softmax(-1).max(-1)
            surest = int(likelihoods.argmax())
            total += likelihoods[surest].item()
            tokens[open_places.pop(surest)] = likeliest[surest]
        if total / count > best:
            best, answer = total / count, tokenizer.decode(tokens[len(left) : len(left) + count].tolist())
    return answer
