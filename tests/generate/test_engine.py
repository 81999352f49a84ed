"""Generation agrees with `transformers`, and an answer does not depend on the other requests in the batch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers

from bessemer.errors import UsageError
from bessemer.generate import GenerationSettings, engine, load
from bessemer.generate.chat import Chat
from bessemer.generate.engine import Batch, Generator
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

GREEDY = GenerationSettings(temperature=0, max_new_tokens=12)
TEXTS = ["the loop reads one line and writes one line", "naïve façades — 日本語 🙂", "for x in range(10): print(x)"] * 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose tokens differ clearly in likelihood, with a small tokenizer."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = TokenizerFolder.trained(train_tokenizer(TEXTS, vocab_size=300))
    tokenizer.save(path)
    shape = ModelShape(size="nano", num_hidden_layers=2, hidden_size=64, num_attention_heads=4)
    model = Transformer(shape.resolve(vocab_size=tokenizer.vocab_size, max_seq_length=64))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.25, generator=generator)
    export_model(model, path, stop_ids=[tokenizer.end_of_text_id])
    return path


@pytest.fixture(scope="module")
def generator(folder: Path) -> Generator:
    return load(folder)


def test_greedy_tokens_equal_those_of_transformers(folder: Path, generator: Generator) -> None:
    stock = transformers.AutoModelForCausalLM.from_pretrained(folder)
    prompts = ["the loop", "x", "for x in range(10): print(x) and then"]
    for prompt, answer in zip(prompts, generator.generate(prompts, GREEDY), strict=True):
        ids = torch.tensor([generator.encode(prompt)])
        expected = stock.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0, ids.shape[1] :].tolist()
        ended = expected[-1] in generator.stop_tokens
        assert list(answer.tokens) == (expected[:-1] if ended else expected)
        assert answer.finish_reason == ("stop" if ended else "length")


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(generator: Generator) -> None:
    """The prompts have several lengths and end at different steps, so the batch contains finished rows and removes
    them."""
    prompts = ["the loop reads one line and writes", "for", "naïve", "print(x)", "日本", "one"]
    settings = [
        GenerationSettings(temperature=t, max_new_tokens=n, seed=s, top_k=k, top_p=p)
        for t, n, s, k, p in [
            (1, 3, 5, 0, 0.9),
            (0, 40, 0, 0, 1),
            (2, 30, 1, 7, 1),
            (1, 4, 2, 0, 1),
            (0, 5, 0, 0, 1),
            (1, 25, 3, 3, 0.5),
        ]
    ]
    together = generator.generate(prompts, settings)
    alone = [generator.generate([p], s)[0] for p, s in zip(prompts, settings, strict=True)]
    assert together == alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_is_loaded_on_the_device_there_is_in_its_stored_type(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """The model is loaded as by `generate` and `chat`. The device `meta` is used in place of a GPU."""
    shutil.copytree(folder, tmp_path / "model")
    export_model(load(folder).model, tmp_path / "model", dtype=dtype)
    monkeypatch.setattr(engine, "choose_device", lambda: torch.device("meta"))
    for model in (
        load(tmp_path / "model").model,
        Chat.load(tmp_path / "model", GREEDY)._generator.model,
    ):
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        assert {parameter.dtype for parameter in model.parameters()} == {model.compute_dtype} == {dtype}
    assert Generator.load(folder, device="cpu").model.embed_tokens.device.type == "cpu"


def test_one_setting_for_several_prompts_seeds_each_of_them(generator: Generator) -> None:
    """Equal prompts get different answers, each equal to the answer of a single prompt with that seed."""
    settings = GenerationSettings(temperature=2, max_new_tokens=12, seed=6)
    together = generator.generate(["for", "the", "for"], settings)
    assert together[0] != together[2]
    assert together[2] == generator.generate(["for"], settings.model_copy(update={"seed": 8}))[0]


def test_a_stream_is_the_completion_in_pieces(generator: Generator) -> None:
    settings = GenerationSettings(temperature=1.5, top_p=1.0, max_new_tokens=40, seed=4)
    assert "".join(generator.stream("for", settings)) == generator.generate(["for"], settings)[0].text


def test_the_seed_decides(generator: Generator) -> None:
    answers = {
        generator.generate(["the"], GenerationSettings(temperature=3, top_p=1, max_new_tokens=20, seed=seed))[0].text
        for seed in (1, 1, 2, 3)
    }
    assert len(answers) == 3


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(generator: Generator) -> None:
    whole = generator.generate(["the loop"], GREEDY)[0].text
    stop = whole[4:6]
    answer = generator.generate(["the loop"], GREEDY.model_copy(update={"stop": (stop,)}))[0]
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finish_reason == "stop"


def test_a_stop_token_ends_the_answer(generator: Generator) -> None:
    first = generator.generate(["the loop"], GREEDY)[0].tokens
    ending = Generator(generator.model, generator.tokenizer, frozenset([first[3]]))
    answer = ending.generate(["the loop"], GREEDY)[0]
    assert answer.tokens == first[: first.index(first[3])]
    assert answer.finish_reason == "stop"


def test_the_context_limits_the_answer_and_a_longer_prompt_is_refused(generator: Generator) -> None:
    batch = Batch(generator.model, [[9] * 60], [GenerationSettings(temperature=0, max_new_tokens=500)])
    steps = 0
    while batch.requests:
        batch.step()
        steps += 1
    assert steps == 4
    with pytest.raises(UsageError, match="has 64 tokens, but the model's context holds 64"):
        Batch(generator.model, [[9] * 64], [GREEDY])


def test_an_empty_prompt_begins_a_new_text(generator: Generator) -> None:
    assert generator.encode("") == [generator.tokenizer.end_of_text_id]
