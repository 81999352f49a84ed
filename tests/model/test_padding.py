"""`transformers` reads a reward at the same token as Bessemer, even in padded batches and after `eos`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

ADDED = {"__type": "AddedToken", "content": "<|end|>", "special": True}
ANSWERS = ["It is red.", "It is blue, or so they say.", "No."]


def tokenizer_folder(folder: Path, special: list[str], **settings: Any) -> TokenizerFolder:
    """A byte-level tokenizer with only these special tokens."""
    trained = json.loads(train_tokenizer(ANSWERS * 9, 300).to_str())
    for number, token in enumerate(trained["added_tokens"]):
        name = special[number] if number < len(special) else f"word {number}"
        del trained["model"]["vocab"][token["content"]]
        trained["model"]["vocab"][name] = token["id"]
        token |= {"content": name, "special": number < len(special)}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(trained))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | settings))
    return TokenizerFolder.open(folder)


def reward_model(vocab_size: int) -> Transformer:
    shape = ModelShape(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    config = shape.resolve(vocab_size=vocab_size, max_seq_length=32).model_copy(update={"is_reward": True})
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3, generator=generator)
    return model


@pytest.mark.parametrize(
    ("special", "settings", "padding"),
    [
        (["<|begin|>", "<|end|>"], {"eos_token": "<|end|>", "pad_token": "<|end|>"}, "<|begin|>"),
        (["<|begin|>", "<|end|>", "<|my_pad|>"], {"eos_token": ADDED}, "<|my_pad|>"),
        (["<|end|>", "<|fim|>", "<|unk|>"], {"eos_token": "<|end|>", "pad_token": ADDED}, "<|unk|>"),
        (["<|end|>", "<|fim|>", "<|unk|>"], {"eos_token": "<|end|>", "pad_token": "<|fim|>"}, "<|fim|>"),
        (["<|end|>", "<|a|>", "<|b|>"], {"eos_token": "<|end|>", "pad_token": "<|absent|>"}, "<|a|>"),
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_scores_of_a_padded_batch(
    tmp_path: Path, special: list[str], settings: dict[str, Any], padding: str, side: str
) -> None:
    opened = tokenizer_folder(tmp_path / "tokenizer", special, **settings)
    model = reward_model(opened.vocab_size)
    end = opened.special_id("<|end|>")
    assert end is not None
    export_model(model, tmp_path / "model", tokenizer=tmp_path / "tokenizer", stop_ids=[end])
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model", padding_side=side)
    assert tokenizer.pad_token == padding
    assert tokenizer.pad_token_id == stock.config.pad_token_id != end
    texts = [text + "<|end|>" for text in ANSWERS]
    batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.no_grad():
        scores = stock(**batch).logits[:, 0]
        for text, score in zip(ANSWERS, scores, strict=True):
            ids = torch.tensor([[*opened.encode(text), end]])
            expected = model(ids, at=(torch.tensor([0]), torch.tensor([ids.shape[1] - 1])))
            torch.testing.assert_close(score[None], expected, atol=1e-4, rtol=1e-4)


def test_without_another_special_token_only_batches_of_one_are_scored(tmp_path: Path) -> None:
    opened = tokenizer_folder(tmp_path / "tokenizer", ["<|end|>"], eos_token="<|end|>", pad_token="<|end|>")
    model = reward_model(opened.vocab_size)
    end = opened.end_of_text_id
    export_model(model, tmp_path / "model", tokenizer=tmp_path / "tokenizer", stop_ids=[end])
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    ids = torch.tensor([[*opened.encode("No."), end]])
    with torch.no_grad():
        expected = model(ids, at=(torch.tensor([0]), torch.tensor([ids.shape[1] - 1])))
        torch.testing.assert_close(stock(ids).logits[:, 0], expected, atol=1e-4, rtol=1e-4)
        with pytest.raises(ValueError, match="no padding token"):
            stock(ids.expand(2, -1))
