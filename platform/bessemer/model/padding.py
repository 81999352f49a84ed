"""The padding token of a reward model.

`transformers` reads a sequence's score at the last token that is not `pad_token_id` of `config.json`, even if an
attention mask is given. If an answer could end with the padding token, the score would be read one token too early. The
padding token is therefore a token that never ends an answer, and the tokenizer pads with the same token.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.tokens.tokenizer import CONFIG_FILE, SPECIAL_FILE, TOKENIZER_FILE

_PREFERRED = ("pad", "unk", "mask", "fim", "reserved")
"""Parts of the names of special tokens that never end a text, in order of preference."""


def set_padding_token(folder: Path, stop_ids: Collection[int]) -> int | None:
    """Sets the padding token of the tokenizer files in `folder` to a token that never ends an answer.

    Returns the token's id. The tokenizer's current `pad_token` is kept if it is a special token that is neither in
    `stop_ids` nor the `eos_token`. Returns None if every special token ends answers; `transformers` then rejects
    batches of several sequences.
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
    """The text of a token, which the files store as a string or as an object."""
    return token.get("content") if isinstance(token, dict) else token
