"""The network: a decoder-only transformer, exactly Qwen3 (or Llama, without the norm of queries and keys).

    x = embedding[tokens]
    for each block:  x += out(attention(rope(norm(q)), rope(norm(k)), v));  x += down(silu(gate(h)) * up(h))
    logits = head(norm(x))

Letters in shapes: B rows, T positions, D hidden_size, H query heads, G key-value heads, d head_dim,
I intermediate_size, V vocab_size.

Precision: parameters are kept as they are (fp32 while training) and each weight is cast once per forward pass to
`compute_dtype`, in which the whole pass runs; gradients come back in the parameter's own type. Norms and the
softmax of the loss are computed in fp32. The cast costs about 1 % of a step and needs no autocast, which would
look at every operation.

Queries, keys and values are one matrix, gate and up another, because one wide product is faster than three.
`parameter_roles` says how to cut them again, for optimizers that work on whole matrices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bessemer.model import cpu, plain, rope
from bessemer.model.cache import KeyValueCache
from bessemer.model.config import ModelConfig
from bessemer.model.loss import IGNORED, cross_entropy
from bessemer.model.rope import Rotation

__all__ = ["IGNORED", "ParameterRole", "Transformer", "document_mask"]


@dataclass(frozen=True)
class ParameterRole:
    """What a parameter is to an optimizer."""

    kind: Literal["matrix", "embedding", "head", "vector"]
    """`matrix`: a hidden linear map [out, in]; `embedding` and `head`: [V, D]; `vector`: a norm's gain."""
    rows: tuple[int, ...] = ()
    """Of a `matrix`: the output rows of each map fused in it, in order; they sum to its first dimension."""
    rate_ratio: float = 1.0
    """What the learning rates of its kind are multiplied with."""


class Transformer(nn.Module):
    """The language model. `config` is its shape; `compute_dtype` the type that activations have."""

    def __init__(self, config: ModelConfig, *, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        self.activation_checkpointing = False
        """Whether a block's activations are computed again on the way back instead of kept: a third more products for
        a block's memory instead of all blocks'. Results stay the same to the bit."""
        self.learning_rate_ratio = 1.0
        """Of the rates that it is trained with, where several models are trained together."""
        self.embed_tokens = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.layers = nn.ModuleList(Block(config, number) for number in range(config.num_hidden_layers))
        self.norm = nn.Parameter(torch.ones(config.hidden_size))
        tied = config.tie_word_embeddings or config.is_reward
        self.lm_head = None if tied else nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.score = nn.Parameter(torch.zeros(1, config.hidden_size)) if config.is_reward else None

    def forward(
        self,
        tokens: Tensor,
        *,
        targets: Tensor | None = None,
        reduction: Literal["sum", "none"] = "sum",
        z_loss: float = 0.0,
        temperature: float = 1.0,
        at: tuple[Tensor, Tensor] | None = None,
        logits: bool = True,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = True,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of `tokens` [B, T], or, with `targets` [B, T], their cross entropy in nats.

        `temperature` divides the logits. `at`, a row and a position for each of n places, asks for those alone: logits
        [n, V], or with `targets` [n] their cross entropy. Without `logits` the answer is the hidden states that the
        head would read. A reward model has a score [B, T] or [n] in place of logits, fp32.

        The targets are used as they are (shift them before); those equal to `IGNORED` count nothing. `reduction`
        `sum` gives a scalar in fp32, `none` one number a position [B, T] (its gradient costs one product more).
        `z_loss` weighs the squared logarithm of the softmax's denominator in the sum. The other arguments are those
        of `hidden_states`.
        """
        x = self.hidden_states(tokens, positions=positions, mask=mask, causal=causal, cache=cache)
        if at is not None:
            x = x[at]
        if not logits:
            return x
        if temperature != 1:
            x = x / temperature
        if self.score is not None:
            return F.linear(x.float(), self.score.float())[..., 0]
        if targets is None:
            return F.linear(x, self.head().to(x.dtype))
        return cross_entropy(x, self.head(), targets, reduction=reduction, z_loss=z_loss)

    def hidden_states(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = True,
        cache: KeyValueCache | None = None,
        at: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The normalised last hidden states [B, T, D], which the head reads.

        `at`, a row and a position for each of n places, asks for those [n, D] alone: then the last feed-forward layer
        is computed nowhere else.

        `positions` [T] or [B, T] are 0, 1, 2, ... if left out. `mask` [B, T, T] is true where a query (second
        dimension) may see a key (third); every query must see one. `causal=False` lets tokens see what is after
        them. With a `cache` the tokens go on from its rows, and it is the caller's to say how many of them count
        (`cache.advance`).
        """
        if cache is not None:
            assert mask is None, "a cache has the mask of its own rows"
            assert positions is None, "a cache counts positions itself"
            assert causal, "tokens in a cache were seen without those after them"
            rotation, mask = cache.open(tokens.shape[1])
        else:
            rotation = rope.rotation(self.config, tokens.shape[1], positions, tokens.device)
            if mask is not None:
                mask = (mask.tril() if causal else mask)[:, None]
        near = mask
        if self.config.sliding_window and cache is None and not (causal and mask is None and positions is None):
            near = self._near(tokens.shape[1], positions, tokens.device)
            near = near.tril() if causal else near
            near = near if mask is None else near & mask
        x = F.embedding(tokens, self.embed_tokens).to(self.compute_dtype)
        for number, block in enumerate(self.blocks()):
            seen = mask if block.window is None else near
            if self.activation_checkpointing and cache is None and torch.is_grad_enabled():
                assert at is None, "places are asked for without gradients"
                x = checkpoint(block, x, rotation, seen, causal, None, use_reentrant=False, preserve_rng_state=False)
            else:
                last = number == self.config.num_hidden_layers - 1
                x = block(x, rotation, seen, causal, None if cache is None else (cache, number), at if last else None)
        return plain.rms_norm(x, self.norm, self.config.rms_norm_eps)

    def _near(self, length: int, positions: Tensor | None, device: torch.device) -> Tensor:
        """The mask [1 or B, 1, T, T] of what is within a layer's window, either way, by position."""
        assert self.config.sliding_window is not None
        where = torch.arange(length, device=device) if positions is None else positions.to(device)
        where = where.reshape(-1, length)
        return ((where[:, :, None] - where[:, None, :]).abs() < self.config.sliding_window)[:, None]

    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.layers))

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compiles the blocks with torch; the first pass of each kind then takes some seconds more.

        Blocks with the same window share their graphs, so compiling takes as long for 36 layers as for one. Graphs of
        another window, or of another model in the process, do not count against `MOST_GRAPHS`. Sharding and activation
        checkpointing work around the compiled blocks.
        """
        for window in {block.window for block in self.blocks()}:
            # the overloads of torch 2.13 lack two of the function's own arguments
            compute: Callable[..., Tensor] = torch.compile(  # type: ignore[call-overload]
                Block.compute, backend=backend, isolate_recompiles=True, recompile_limit=MOST_GRAPHS
            )
            for block in self.blocks():
                if block.window == window:
                    block.compiled = compute

    def head(self) -> Tensor:
        """The output matrix [V, D]: its own, or the embedding."""
        return self.embed_tokens if self.lm_head is None else self.lm_head

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Fills every parameter from `seed` and its name alone, whatever the device or the number of threads.

        Embedding and head N(0, initializer_range^2); maps that write to the residual stream zero, so that every
        block begins as the identity; other maps N(0, 1 / (3 fan_in)) (modded-nanogpt, track 3); gains one.
        """
        for name, parameter in self.named_parameters():
            role = self.parameter_roles()[name]
            if role.kind == "vector":
                parameter.fill_(1.0)
            elif name.endswith(("out", "down", "score")):
                parameter.zero_()
            else:
                generator = generator_for(seed, name)
                spread = (3 * parameter.shape[1]) ** -0.5 if role.kind == "matrix" else self.config.initializer_range
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """The role of every parameter, by its name in `named_parameters`."""
        roles = {}
        for name, parameter in self.named_parameters():
            owner, _, last = name.rpartition(".")
            module = self.get_submodule(owner)
            if name == "embed_tokens":
                roles[name] = ParameterRole("embedding")
            elif name in ("lm_head", "score"):
                roles[name] = ParameterRole("head")
            elif parameter.ndim == 1:
                roles[name] = ParameterRole("vector")
            elif isinstance(module, Block):
                roles[name] = ParameterRole("matrix", module.rows(last))
            else:  # an adapter's, which is one map
                roles[name] = ParameterRole("matrix", (parameter.shape[0],))
        ratio = self.learning_rate_ratio
        return {name: replace(role, rate_ratio=ratio) for name, role in roles.items()} if ratio != 1 else roles


class Block(nn.Module):
    """Attention, then a gated feed-forward layer; each reads a normalised copy of x and adds to x."""

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        self.config = c = config
        self.window = config.window(number)
        self.compiled: Callable[..., Tensor] | None = None
        """`compute` as torch compiled it, if it did."""
        self.attention_norm = nn.Parameter(torch.ones(c.hidden_size))
        self.qkv = nn.Parameter(torch.empty(c.query_size + 2 * c.key_value_size, c.hidden_size))
        if c.qk_norm:
            self.query_norm = nn.Parameter(torch.ones(c.head_dim))
            self.key_norm = nn.Parameter(torch.ones(c.head_dim))
        self.out = nn.Parameter(torch.empty(c.hidden_size, c.query_size))
        self.feed_forward_norm = nn.Parameter(torch.ones(c.hidden_size))
        self.gate_up = nn.Parameter(torch.empty(2 * c.intermediate_size, c.hidden_size))
        self.down = nn.Parameter(torch.empty(c.hidden_size, c.intermediate_size))
        self.adapters = nn.ModuleDict()
        """Low-rank changes of projections, by their names; see `model.lora`."""
        self.adapted = True
        """Whether the adapters count."""

    def rows(self, matrix: str) -> tuple[int, ...]:
        """The output rows of each map fused in a matrix, in the order of `FUSED`."""
        c = self.config
        return {
            "qkv": (c.query_size, c.key_value_size, c.key_value_size),
            "gate_up": (c.intermediate_size, c.intermediate_size),
        }.get(matrix, (c.hidden_size,))

    def matrix(self, name: str) -> Tensor:
        """The matrix called `name`, with the changes of its adapters."""
        weight: Tensor = getattr(self, name)
        parts = FUSED[name]
        if not self.adapted or not any(part in self.adapters for part in parts):
            return weight
        pieces = torch.split(weight, list(self.rows(name)))
        changed = [
            cast(Adapter, self.adapters[part]).added_to(piece) if part in self.adapters else piece
            for part, piece in zip(parts, pieces, strict=True)
        ]
        return torch.cat(changed) if len(changed) > 1 else changed[0]

    def forward(
        self,
        x: Tensor,
        rotation: Rotation,
        mask: Tensor | None,
        causal: bool,
        cache: tuple[KeyValueCache, int] | None,
        at: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """x [B, T, D] to [B, T, D], or to [n, D] of the places `at` if they are given.

        `mask` [B, 1, T, S] is true where a query sees a key; the cache comes with the layer's number.

        Only whole passes over texts run compiled. A cache and places change with every call, and each of their values
        would need a graph.
        """
        if self.compiled is None or cache is not None or at is not None:
            return self.compute(x, rotation, mask, causal, cache, at)
        return self.compiled(self, x, rotation, mask, causal and mask is None, None, None)

    def compute(
        self,
        x: Tensor,
        rotation: Rotation,
        mask: Tensor | None,
        causal: bool,
        cache: tuple[KeyValueCache, int] | None,
        at: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """`forward` as torch compiles it, or not compiled."""
        c = self.config
        by_hand = x.device.type == "cpu" and cache is None and self.compiled is None  # a compiler fuses formulas
        operations = cpu if by_hand else plain
        gains = (self.query_norm, self.key_norm) if c.qk_norm else None
        qkv = operations.norm_linear(x, self.attention_norm, self.matrix("qkv"), c.rms_norm_eps)
        if cache is None:
            y = operations.attend(qkv, gains, rotation, c, causal=causal, mask=mask, window=self.window)
        else:
            y = cache[0].attend(cache[1], *plain.queries_keys_values(qkv, gains, rotation, c), mask)
        if at is not None:
            x, y = x[at], y[at]
        x = x + F.linear(y, self.matrix("out").to(x.dtype))
        gate_up = operations.norm_linear(x, self.feed_forward_norm, self.matrix("gate_up"), c.rms_norm_eps)
        return x + F.linear(operations.swiglu(gate_up), self.matrix("down").to(x.dtype))


class Adapter(nn.Module):
    """A low-rank change of a linear map [out, in]: `scale` * up down, with up [out, r] and down [r, in]."""

    def __init__(self, rows: int, columns: int, r: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(r, columns))
        self.up = nn.Parameter(torch.zeros(rows, r))
        self.scale = scale

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """The first matrix uniform within 1 / sqrt(in), as in `peft`; the second zero."""
        bound = self.down.shape[1] ** -0.5
        self.down.copy_((2 * torch.rand(self.down.shape, generator=generator) - 1) * bound)
        self.up.zero_()

    def added_to(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


SHAPES, MODES, SIGHTS = 6, 4, 4
MOST_GRAPHS = SHAPES * MODES * SIGHTS
"""Graphs of one compiled block at most; a pass of another kind then runs without a graph, and slowly.

Shapes: the first, then any number of rows, then any length, and each again for a single row (torch specialises sizes of
1). Modes: with gradients, also of the input or not (adapters leave the embedding frozen), and without gradients, with
adapters or not. Attention: causal, bidirectional, or masked, with one mask for all rows or one per row.

Torch's own limit is 8: two shapes with a window and without, in two modes."""

FUSED = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "out": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}
"""The projections, in Hugging Face's names, that each matrix of a block holds one below the other."""


def generator_for(seed: int, name: str) -> torch.Generator:
    """Random numbers on the CPU that depend on `seed` and `name` alone."""
    digest = hashlib.sha256(f"{seed}\x00{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def document_mask(documents: Tensor) -> Tensor:
    """The mask [B, T, T] that keeps attention inside a document, from each token's document number [B, T]."""
    return documents[:, :, None] == documents[:, None, :]
