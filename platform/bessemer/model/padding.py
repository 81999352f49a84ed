"""The padding token of a reward model.

`transformers` reads a sequence's score at its last token that is not `pad_token_id` of `config.json`, with or without
an attention mask. If an answer can end with that token, the score is read one token early. So the padding token is one
that ends no answer, and the tokenizer pads with the same one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.tokens.tokenizer import CONFIG_FILE, SPECIAL_FILE, TOKENIZER_FILE

_PREFERRED = ("pad", "unk", "mask", "fim", "reserved")
"""Parts of the names of special tokens that never end a text, the best first."""


def set_padding_token(folder: Path, stop_ids: Collection[int]) -> int | None:
    """Makes the tokenizer files in `folder` pad with a token that ends no answer, and returns its id.

    The tokenizer's own `pad_token` is kept if it is none of `stop_ids` and not the `eos_token`. None if every special
    token ends answers: `transformers` then refuses batches of several sequences.
    """
    found = storage.read_foreign_json(folder / TOKENIZER_FILE) or {}
    special = {token["content"]: token["id"] for token in found.get("added_tokens", []) if token.get("special")}
    files = {name: storage.read_foreign_json(folder / name) for name in (SPECIAL_FILE, CONFIG_FILE)}
    settings: dict[str, Any] = {}
    for content in files.values():
        settings |= content or {}
    ends = {*stop_ids, special.get(_name(settings.get("eos_token")))}
    usable = {name: number for name, number in special.items() if number not in ends}
    own = _name(settings.get("pad_token"))
    chosen = own if own in usable else min(usable, key=lambda name: (_rank(name), usable[name]), default=None)
    if chosen != own:
        for name, content in files.items():
            if name == CONFIG_FILE or content is not None:
                storage.write_json(folder / name, (content or {}) | {"pad_token": chosen})
    return None if chosen is None else usable[chosen]


def _rank(name: str) -> int:
    return next((rank for rank, part in enumerate(_PREFERRED) if part in name.lower()), len(_PREFERRED))


def _name(token: Any) -> Any:
    """The text of a token, which settings give as a string or as an object."""
    return token.get("content") if isinstance(token, dict) else token
