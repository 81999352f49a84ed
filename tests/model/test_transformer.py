"""The network's caches, document masks, windows, compiled blocks and initial weights."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from bessemer.model import cpu, plain, transformer
from bessemer.model.cache import KeyValueCache
from bessemer.model.config import LoraSettings, ModelConfig, ModelShape
from bessemer.model.lora import add_adapters
from bessemer.model.transformer import MOST_GRAPHS, Transformer, document_mask


def small(**changes: object) -> Transformer:
    shape = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 40}
    model = Transformer(ModelShape(**shape | changes).resolve(vocab_size=19, max_seq_length=64))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0.5 if parameter.ndim == 1 else 0.0, 0.3, generator=generator)
    return model


def some_tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, 19, (rows, length), generator=torch.Generator().manual_seed(1))


WINDOWS = {"sliding_window": 5, "full_attention_interval": 2}


@pytest.mark.parametrize("changes", [{}, WINDOWS], ids=["qwen3", "sliding"])
@torch.no_grad()
def test_the_states_of_some_places_are_those_of_all(changes: dict[str, Any]) -> None:
    model, tokens = small(**changes), some_tokens(3, 14)
    at = (torch.tensor([0, 2, 2, 1]), torch.tensor([13, 0, 5, 5]))
    torch.testing.assert_close(model.hidden_states(tokens, at=at), model.hidden_states(tokens)[at])


@pytest.mark.parametrize("changes", [{}, {"qk_norm": False}, WINDOWS], ids=["qwen3", "llama", "sliding"])
@torch.no_grad()
def test_a_cache_gives_the_logits_of_the_whole_text_for_rows_of_unequal_length(changes: dict[str, Any]) -> None:
    model, tokens = small(**changes), some_tokens(3, 14)
    whole = model(tokens)
    cache = KeyValueCache(model.config, 3, 16, dtype=torch.float32)
    prompt = torch.tensor([3, 7, 5])
    logits = model(tokens[:, :7], cache=cache)  # tokens after the end of a shorter prompt are ignored
    cache.advance(prompt.tolist())
    for row, length in enumerate(prompt.tolist()):
        torch.testing.assert_close(logits[row, :length], whole[row, :length])
    for step in range(6):
        upcoming = tokens.gather(1, (prompt + step)[:, None])
        logits = model(upcoming, cache=cache)
        cache.advance(1)
        expected = whole[torch.arange(3), prompt + step]
        torch.testing.assert_close(logits[:, 0], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_cache_of_equally_long_rows_gives_the_logits_of_the_whole_text() -> None:
    model, tokens = small(**WINDOWS), some_tokens(2, 12)
    cache = KeyValueCache(model.config, 2, 12, dtype=torch.float32)
    found = []
    for first, last in ((0, 7), (7, 8), (8, 9), (9, 12)):
        found.append(model(tokens[:, first:last], cache=cache))
        cache.advance(last - first)
    torch.testing.assert_close(torch.cat(found, dim=1), model(tokens), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, WINDOWS], ids=["all", "sliding"])
@torch.no_grad()
def test_documents_in_a_row_do_not_see_each_other(changes: dict[str, Any]) -> None:
    model, tokens = small(**changes), some_tokens(1, 12)
    documents = torch.tensor([[0] * 5 + [1] * 7])
    positions = torch.cat((torch.arange(5), torch.arange(7)))[None]
    packed = model(tokens, mask=document_mask(documents), positions=positions)
    torch.testing.assert_close(packed[:, :5], model(tokens[:, :5]))
    torch.testing.assert_close(packed[:, 5:], model(tokens[:, 5:]))


@torch.no_grad()
def test_a_window_is_the_mask_of_what_is_near() -> None:
    """All implementations of the window agree: blocks, masks, positions, and bidirectional attention."""
    model, tokens = small(**WINDOWS), some_tokens(2, 13)
    everything = torch.ones(2, 13, 13, dtype=torch.bool)
    torch.testing.assert_close(model(tokens), model(tokens, mask=everything))
    torch.testing.assert_close(model(tokens), model(tokens, positions=torch.arange(13)))
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 19
    alone = small(sliding_window=5, full_attention_interval=9)
    reach = 2 * 4  # each of two layers reaches four tokens back
    assert torch.equal(alone(tokens)[:, reach + 1 :], alone(changed)[:, reach + 1 :])
    assert not torch.allclose(alone(tokens)[:, reach], alone(changed)[:, reach], atol=1e-6)
    both = alone(tokens, causal=False), alone(changed, causal=False)
    assert torch.equal(both[0][:, reach + 1 :], both[1][:, reach + 1 :])


@torch.no_grad()
def test_causal_looks_back_only_and_bidirectional_looks_ahead() -> None:
    model, tokens = small(), some_tokens(1, 9)
    changed = tokens.clone()
    changed[0, -1] = (changed[0, -1] + 1) % 19
    assert torch.equal(model(tokens)[:, :-1], model(changed)[:, :-1])
    assert not torch.allclose(model(tokens, causal=False)[:, 0], model(changed, causal=False)[:, 0])


@pytest.mark.parametrize("changes", [{}, WINDOWS, WINDOWS | {"sliding_window": 1}], ids=["all", "sliding", "alone"])
@pytest.mark.parametrize("block", [2**21, 1], ids=["one block", "blocks"])
def test_the_whole_gradient_equals_that_of_the_plain_formulas(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], block: int
) -> None:
    monkeypatch.setattr(cpu, "BLOCK_NUMBERS", block)
    monkeypatch.setattr(cpu, "MINIMUM_BLOCK", 6)
    model, tokens = small(**changes), some_tokens(2, 20)
    model(tokens[:, :-1], targets=tokens[:, 1:]).backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    monkeypatch.setattr("bessemer.model.transformer.cpu", plain)
    model(tokens[:, :-1], targets=tokens[:, 1:]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for CPUs with g++, which is not here")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_compiled_blocks_give_the_same_loss_and_gradients() -> None:
    model, tokens = small(), some_tokens(2, 20)
    model(tokens[:, :-1], targets=tokens[:, 1:]).backward()
    plainly = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model.compile_blocks()
    model(tokens[:, :-1], targets=tokens[:, 1:]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(plainly[name], parameter.grad, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("again", [False, True])
def test_activation_checkpointing_keeps_one_activation_per_block(again: bool) -> None:
    """The backward pass recomputes each block. Until then, the block keeps only its input."""
    model, tokens = small(num_hidden_layers=3), some_tokens(2, 20)
    model.activation_checkpointing = again
    calls, kept = [], []
    for block in model.blocks():
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        total = model(tokens, targets=tokens)
    assert len(calls) == 3
    total.backward()
    assert len(calls) == (6 if again else 3)
    width = 2 * 20 * 32
    held = sum(numbers for numbers in kept if numbers >= width)
    assert (held < 10 * width) == again, "the inputs of three blocks and what the head keeps"
    with torch.no_grad():
        model(tokens)
    assert len(calls) == (9 if again else 6), "without gradients, no block is recomputed"


def graphs(model: Transformer, shapes: list[tuple[int, int]]) -> int:
    """The number of graphs after passes with `shapes`, with and without gradients.

    Fails if a pass exceeds the limit and runs without a graph.
    """
    torch.compiler.reset()
    counter = CompileCounter()
    model.compile_blocks(backend=counter)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for rows, length in shapes:
            tokens = some_tokens(rows, length)
            model(tokens, targets=tokens).backward()
            with torch.no_grad():
                model(tokens, targets=tokens)
    return int(counter.frame_count)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_windows_modes_and_shapes_have_room_for_their_graphs() -> None:
    """With torch's default limit of 8 graphs, further passes would run without a graph, with only a log line."""
    model = small(**WINDOWS)
    add_adapters(model, LoraSettings(r=2), seed=0)
    assert 8 < graphs(model, [(2, 16), (3, 20), (1, 20)]) <= 2 * MOST_GRAPHS


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_graphs_of_one_model_do_not_count_against_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages of a recipe train several models in one process, one after the other."""
    monkeypatch.setattr(transformer, "MOST_GRAPHS", 2)
    tokens = some_tokens(2, 16)
    torch.compiler.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for layers in (1, 2, 3):
            model = small(num_hidden_layers=layers)
            counter = CompileCounter()
            model.compile_blocks(backend=counter)
            model(tokens, targets=tokens).backward()
            with torch.no_grad():
                model(tokens, targets=tokens)
                model(tokens, cache=KeyValueCache(model.config, 2, 16, dtype=torch.float32))
                model.hidden_states(tokens, at=(torch.tensor([0]), torch.tensor([3])))
            assert counter.frame_count == 2, (
                "one graph per mode for any number of blocks; no graph for `cache` and `at`"
            )


def test_initial_weights_depend_on_the_seed_alone() -> None:
    config = ModelShape(size="nano", tie_word_embeddings=False).resolve(vocab_size=300, max_seq_length=8)

    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = Transformer(config)
        model.initialise(seed)
        return model.state_dict()

    torch.manual_seed(5)
    first = weights(1)
    torch.manual_seed(6)
    assert all(torch.equal(a, b) for a, b in zip(first.values(), weights(1).values(), strict=True))
    assert not torch.equal(first["layers.0.qkv"], weights(2)["layers.0.qkv"])
    assert not torch.equal(first["layers.0.qkv"], first["layers.1.qkv"])


@torch.no_grad()
def test_an_untrained_model_predicts_every_token_about_equally() -> None:
    model = Transformer(ModelShape(size="nano").resolve(vocab_size=300, max_seq_length=64))
    model.initialise(0)
    tokens = torch.randint(0, 300, (4, 64), generator=torch.Generator().manual_seed(0))
    nats = model(tokens[:, :-1], targets=tokens[:, 1:]) / tokens[:, 1:].numel()
    assert abs(nats - torch.tensor(300.0).log()) < 0.3


def test_roles_cover_every_parameter_and_cut_the_fused_matrices() -> None:
    model = small(tie_word_embeddings=False)
    roles = model.parameter_roles()
    for name, parameter in model.named_parameters():
        if roles[name].kind == "matrix":
            assert sum(roles[name].rows) == len(parameter), name
    config: ModelConfig = model.config
    assert roles["layers.0.qkv"].rows == (config.query_size, config.key_value_size, config.key_value_size)
    assert roles["layers.1.gate_up"].rows == (40, 40)
    assert {role.kind for role in roles.values()} == {"matrix", "embedding", "head", "vector"}
