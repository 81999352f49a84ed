"""Creates the objective that a recipe names."""

from __future__ import annotations

from typing import Any

from bessemer.errors import UsageError
from bessemer.tokens.infill import Sentinels
from bessemer.tokens.special import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, MASK
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.objectives.base import Objective
from bessemer.train.objectives.causal import Causal
from bessemer.train.objectives.infill import Infill
from bessemer.train.objectives.masked import Masked
from bessemer.train.objectives.mixture import Mixture
from bessemer.train.objectives.settings import ObjectiveName
from bessemer.train.settings import TrainingPlan


def build_objective(
    plan: TrainingPlan, store: TokenStore, tokenizer: TokenizerFolder, *, validation_tokens: int
) -> Objective:
    """The plan's objective. Raises UsageError if the tokenizer lacks special tokens that the objective needs."""
    shares: dict[ObjectiveName, float] = plan.objective["shares"]
    parts: dict[str, Objective] = {name: _part(name, plan, store, tokenizer, validation_tokens) for name in shares}
    if len(parts) == 1:
        return next(iter(parts.values()))
    return Mixture(parts, {str(name): share for name, share in shares.items()}, plan.seed)


def _part(
    name: ObjectiveName, plan: TrainingPlan, store: TokenStore, tokenizer: TokenizerFolder, validation_tokens: int
) -> Objective:
    common: dict[str, Any] = {
        "length": plan.max_seq_length,
        "seed": plan.seed,
        "validation_tokens": validation_tokens,
        "z_loss": plan.objective["z_loss"],
    }
    if name == "causal":
        return Causal(store, document_mask=plan.objective["document_mask"], **common)
    if name == "masked":
        mask_id = tokenizer.special_id(MASK)
        if mask_id is None:
            raise _lacking(name, MASK)
        return Masked(store, mask_id=mask_id, masking_ratio=plan.objective["masking_ratio"], **common)
    sentinels = Sentinels.of(tokenizer)
    if sentinels is None:
        raise _lacking(name, f"{FIM_PREFIX} {FIM_MIDDLE} {FIM_SUFFIX}")
    return Infill(store, tokenizer, sentinels, **common)


def _lacking(name: str, tokens: str) -> UsageError:
    return UsageError(
        f"`objective` is `{name}`, but the tokenizer has no special token {tokens}",
        hint="train a tokenizer with the stage `tokenizer`, or add the tokens to your own tokenizer",
    )
