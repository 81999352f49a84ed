"""Tokenizer folders: decoding restores the text, `transformers` agrees, and unsuitable folders raise errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from bessemer.errors import InputError
from bessemer.tokens.special import CHAT_TEMPLATE, END_OF_TEXT, SPECIAL_TOKENS
from bessemer.tokens.tokenizer import TokenizerFolder

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(["<|im_start|>", "<|endoftext|>", " ", "\r\n", "it's", "123456", "é", "é", "🙂", "\x00", "हिन्दी"])
).map("".join)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, trained_tokenizer: TokenizerFolder) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    trained_tokenizer.save(path)
    return path


@settings(deadline=None)
@given(text=texts)
def test_any_text_comes_back_and_no_special_token_comes_out_of_it(
    trained_tokenizer: TokenizerFolder, text: str
) -> None:
    ids = trained_tokenizer.encode(text)
    assert trained_tokenizer.decode(ids) == text
    assert trained_tokenizer.token_bytes[ids].sum() == len(text.encode())
    assert all(index >= len(SPECIAL_TOKENS) for index in ids)


def test_special_tokens_are_recognised_when_asked_for(trained_tokenizer: TokenizerFolder) -> None:
    ids = trained_tokenizer.encode("<|im_start|>user<|im_end|>", recognise_special=True)
    assert (ids[0], ids[-1]) == (
        trained_tokenizer.special_id("<|im_start|>"),
        trained_tokenizer.special_id("<|im_end|>"),
    )
    assert trained_tokenizer.decode(ids, skip_special=True) == "user"


def test_transformers_loads_the_folder_with_equal_ids_and_template(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    stock = transformers.AutoTokenizer.from_pretrained(folder)
    ours = TokenizerFolder.open(folder)
    for text in ("Hello  wörld's\n\n\t12345 हिन्दी 🙂", "<|im_start|>", ""):
        assert stock(text, add_special_tokens=False)["input_ids"] == ours.encode(text, recognise_special=True)
        assert stock.decode(ours.encode(text)) == text
    assert (stock.eos_token_id, stock.pad_token_id) == (ours.end_of_text_id, ours.end_of_text_id)
    assert len(stock) == ours.vocab_size
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    whole = stock.apply_chat_template(turns, tokenize=False)
    prompt = stock.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert whole.startswith(prompt)
    assert ours.chat_templates == {"default": CHAT_TEMPLATE}


def test_saving_is_deterministic_and_survives_a_round(folder: Path, tmp_path: Path) -> None:
    TokenizerFolder.open(folder).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b'{"version": "1.0"}', b"\xff\xfe\x00"])
def test_a_damaged_tokenizer_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        TokenizerFolder.open(tmp_path)


def test_a_folder_without_a_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        TokenizerFolder.open(tmp_path)


def test_a_tokenizer_that_loses_text_is_refused(tmp_path: Path) -> None:
    word_level = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    word_level.pre_tokenizer = pre_tokenizers.Whitespace()
    word_level.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="byte-level"):
        TokenizerFolder.open(tmp_path)


def test_a_lower_casing_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    description["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="does not restore the text"):
        TokenizerFolder.open(tmp_path)


def test_the_end_of_text_of_a_brought_tokenizer_is_its_eos_token(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    document = (tmp_path / "tokenizer.json").read_text().replace(END_OF_TEXT, "</s>")
    (tmp_path / "tokenizer.json").write_text(document)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    brought = TokenizerFolder.open(tmp_path)
    assert (brought.end_of_text, brought.end_of_text_id) == ("</s>", 0)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").unlink()
    with pytest.raises(InputError, match="ends a text"):
        TokenizerFolder.open(tmp_path)


def test_gpt2_gives_the_published_ids(dataset: Callable[[str], Path], tmp_path: Path) -> None:
    """Test vectors of tiktoken for `r50k_base`, with the vocabulary that OpenAI released for GPT-2."""
    folder = dataset("vec_tokenizer")
    gpt2 = Tokenizer(models.BPE.from_file(str(folder / "gpt2/encoder.json"), str(folder / "gpt2/vocab.bpe")))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders

    gpt2.decoder = decoders.ByteLevel()
    gpt2.add_special_tokens([END_OF_TEXT])
    gpt2.save(str(tmp_path / "tokenizer.json"))
    brought = TokenizerFolder.open(tmp_path)
    plans = (folder / "tiktoken/TestPlans.txt").read_text().split("EncodingName: ")
    checked = 0
    for plan in plans:
        if plan.startswith("r50k_base"):
            sample = plan[plan.index("Sample: ") + 8 : plan.index("\nEncoded: ")]
            assert brought.encode(sample) == json.loads(plan[plan.index("Encoded: ") + 9 :])
            checked += 1
    assert checked > 10
    assert brought.end_of_text_id == 50256
