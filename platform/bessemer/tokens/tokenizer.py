"""Hugging Face tokenizer folders: `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.

Only byte-level BPE is supported (GPT-2, Llama 3, Qwen, OLMo, SmolLM, our own, ...). It has a token for every byte, so
no text is unknown and decoding restores the encoded text exactly. Special tokens that occur in the text of a document
are encoded as plain text, unless the caller sets `recognise_special`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers

from bessemer import storage
from bessemer.errors import InputError
from bessemer.tokens.special import CHAT_TEMPLATE, END_OF_TEXT, NAMED_TEMPLATES, SPECIAL_TOKENS

TOKENIZER_FILE, CONFIG_FILE, SPECIAL_FILE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)

_BYTE_LEVEL_HINT = "use a byte-level BPE tokenizer (such as that of GPT-2, Llama 3, Qwen or OLMo), or train one"
_BEGIN_PROBE = "a"
_PROBE = "Prices rose 12,345.67 % in São Paulo;\n\n\tif (x != y) {  return '日本語'; }  // 🙂 don't  \r\n नमस्ते"


class TokenizerFolder:
    """A tokenizer with its settings.

    tokenizer = TokenizerFolder.open(path)
    ids = tokenizer.encode("text")                       # special tokens in the text are text
    ids = tokenizer.encode(prompt, recognise_special=True)
    tokenizer.decode(ids) == "text"
    tokenizer.end_of_text_id, tokenizer.vocab_size, tokenizer.special_id("<|im_end|>"), tokenizer.chat_templates
    """

    def __init__(self, tokenizer: Tokenizer, settings: dict[str, Any], name: str) -> None:
        self.tokenizer = tokenizer
        self.settings = settings
        self.name = name

    @classmethod
    def open(cls, path: Path) -> TokenizerFolder:
        """Opens a tokenizer folder, a model folder, or an artifact with one of them. Raises InputError if unusable."""
        path = Path(path)
        folder = path / "data" if (path / "data" / TOKENIZER_FILE).exists() else path
        if not (folder / TOKENIZER_FILE).exists():
            if (folder / "tokenizer.model").exists():
                raise InputError(
                    f"the tokenizer in `{folder}` is a SentencePiece model, which is not supported",
                    hint=_BYTE_LEVEL_HINT,
                )
            raise InputError(
                f"`{path}` holds no `{TOKENIZER_FILE}`",
                hint="use a Hugging Face tokenizer or model folder; convert an older one with "
                "`transformers.AutoTokenizer.from_pretrained(...).save_pretrained(...)`",
            )
        try:
            document = (folder / TOKENIZER_FILE).read_bytes()
            json.loads(document)
            tokenizer = Tokenizer.from_buffer(document)
        except (
            ValueError,
            RecursionError,
        ) as error:  # tokenizers also raises ValueError for JSON that is not a tokenizer
            raise InputError(f"`{folder / TOKENIZER_FILE}` cannot be read: {error}", hint=_BYTE_LEVEL_HINT) from error
        settings = storage.read_foreign_json(folder / SPECIAL_FILE) or {}
        settings |= storage.read_foreign_json(folder / CONFIG_FILE) or {}
        if (template := folder / "chat_template.jinja").exists():
            settings["chat_template"] = template.read_text(encoding="utf-8")
        named = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob(NAMED_TEMPLATES))}
        if named:
            default = {} if settings.get("chat_template") is None else {"default": settings["chat_template"]}
            settings["chat_template"] = [
                {"name": name, "template": template} for name, template in (default | named).items()
            ]
        opened = cls(tokenizer, settings, str(path))
        opened._check()
        return opened

    @classmethod
    def trained(cls, tokenizer: Tokenizer) -> TokenizerFolder:
        """Wraps a tokenizer from `training.train_tokenizer` and adds Bessemer's chat template."""
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "additional_special_tokens": [token for token in SPECIAL_TOKENS if token != END_OF_TEXT],
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
        }
        return cls(tokenizer, settings, "the trained tokenizer")

    def save(self, folder: Path) -> None:
        """Writes the three files. Equal tokenizers give equal bytes."""
        storage.write_text(folder / TOKENIZER_FILE, self.tokenizer.to_str(pretty=True) + "\n")
        storage.write_json(folder / CONFIG_FILE, self.settings)
        special = {key: value for key, value in self.settings.items() if key.endswith(("_token", "_special_tokens"))}
        storage.write_json(folder / SPECIAL_FILE, special)

    @cached_property
    def vocab_size(self) -> int:
        """The largest id plus 1, the smallest number of rows of an embedding."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def end_of_text(self) -> str:
        """The token that ends a document: `<|endoftext|>` if it exists, otherwise the folder's `eos_token`."""
        if self.special_id(END_OF_TEXT) is not None:
            return END_OF_TEXT
        token = self.settings.get("eos_token")
        token = token["content"] if isinstance(token, dict) else token
        if not token or self.special_id(token) is None:
            raise InputError(
                f"the tokenizer `{self.name}` has no token that ends a text",
                hint=f"add a special token `{END_OF_TEXT}` to it, or set `eos_token` in `{CONFIG_FILE}`",
            )
        return str(token)

    @property
    def end_of_text_id(self) -> int:
        found = self.special_id(self.end_of_text)
        assert found is not None
        return found

    @property
    def chat_templates(self) -> dict[str, str]:
        """The Jinja chat templates by name; a template without a name is `default`. Raises InputError if invalid."""
        found = self.settings.get("chat_template")
        try:
            templates = {one["name"]: one["template"] for one in found} if isinstance(found, list) else found or {}
        except (TypeError, LookupError):
            templates = None
        if isinstance(templates, str):
            templates = {"default": templates}
        if not isinstance(templates, dict) or not all(isinstance(text, str) for text in templates.values()):
            raise InputError(
                f"`chat_template` of the tokenizer `{self.name}` is neither a text nor a list of named templates",
                hint=f"set `chat_template` in `{CONFIG_FILE}` to a Jinja template, or to a list of objects with `name` "
                "and `template`",
            )
        return templates

    @cached_property
    def begin_ids(self) -> tuple[int, ...]:
        """The special tokens that the tokenizer adds before a text, such as BOS in Llama 3; often empty."""
        plain = self.encode(_BEGIN_PROBE)
        whole = self.tokenizer.encode(_BEGIN_PROBE, add_special_tokens=True).ids
        count = next((n for n in range(len(whole)) if whole[n : n + len(plain)] == plain), 0)
        return tuple(whole[:count])

    @property
    def document_begin_ids(self) -> tuple[int, ...]:
        """The special tokens before a document of a token store.

        They are `begin_ids`, except the end of text: the end of the document before is there already.
        """
        return tuple(number for number in self.begin_ids if number != self.end_of_text_id)

    @cached_property
    def prefix_id(self) -> int:
        """The token used as an empty context: `bos_token`, otherwise `eos_token`, otherwise the end-of-text token.

        It corresponds to `prefix_token_id` of lm-evaluation-harness.
        """
        names = (self.settings.get(key) for key in ("bos_token", "eos_token"))
        texts = (name["content"] if isinstance(name, dict) else name for name in names)
        found = (self.special_id(text) for text in texts if text)
        return next((number for number in found if number is not None), self.end_of_text_id)

    def special_id(self, token: str) -> int | None:
        """The id of a special token; None if the tokenizer does not have it."""
        return self.tokenizer.token_to_id(token)

    def encode(self, text: str, *, recognise_special: bool = False) -> list[int]:
        """The ids of a text. Special tokens in the text are plain text unless `recognise_special` is set."""
        if self.tokenizer.encode_special_tokens == recognise_special:  # cannot be set while a thread encodes
            self.tokenizer.encode_special_tokens = not recognise_special
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_with_offsets(self, text: str, *, recognise_special: bool = False) -> list[tuple[int, int, int]]:
        """(id, start, end) for each token of a text, with positions in characters. The ids are those of `encode`."""
        if self.tokenizer.encode_special_tokens == recognise_special:
            self.tokenizer.encode_special_tokens = not recognise_special
        found = self.tokenizer.encode(text, add_special_tokens=False)
        return [(number, start, end) for number, (start, end) in zip(found.ids, found.offsets, strict=True)]

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of `ids`. Bytes that are not valid UTF-8, such as half a character, become U+FFFD."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_special)

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """int32[vocab_size]: the number of UTF-8 bytes of each token; 0 for special tokens and unused ids."""
        sizes = np.zeros(self.vocab_size, np.int32)
        for token, index in self.tokenizer.get_vocab(with_added_tokens=False).items():
            sizes[index] = len(token)  # byte-level BPE writes each byte as one character
        for index, added in self.tokenizer.get_added_tokens_decoder().items():
            sizes[index] = 0 if added.special else len(added.content.encode())
        return sizes

    def _check(self) -> None:
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=False)
        missing = [c for c in pre_tokenizers.ByteLevel.alphabet() if c not in vocabulary]
        kind = json.loads(self.tokenizer.to_str())["model"]["type"]
        if missing or kind != "BPE":
            kind = "BPE without a token for every byte, as SentencePiece makes it" if kind == "BPE" else kind
            raise InputError(f"the tokenizer `{self.name}` is not byte-level BPE: it is {kind}", hint=_BYTE_LEVEL_HINT)
        if (back := self.decode(self.encode(_PROBE))) != _PROBE:
            raise InputError(
                f"the tokenizer `{self.name}` does not restore the text that it encodes: {_PROBE!r} becomes {back!r}",
                hint=_BYTE_LEVEL_HINT,
            )
        assert self.end_of_text
