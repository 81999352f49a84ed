"""The network: a decoder-only transformer, exactly Qwen3, or Llama if queries and keys are not normalised.

    x = embedding[tokens]
    for each block:  x += out(attention(rope(norm(q)), rope(norm(k)), v));  x += down(silu(gate(h)) * up(h))
    logits = head(norm(x))

Letters in shapes: B rows, T positions, D hidden_size, H query heads, G key-value heads, d head_dim,
I intermediate_size, V vocab_size.

Precision: parameters keep their type (fp32 in training). Each weight is cast to `compute_dtype` once per forward pass,
and the whole pass runs in that type. Gradients have the type of their parameter. Norms and the softmax of the loss are
computed in fp32. The casts cost about 1 % of a step. Autocast is not used, because it would inspect every operation.

Queries, keys and values share one matrix, and gate and up share another, because one wide product is faster than
several narrow ones. `parameter_roles` gives the rows of each map, for optimizers that work on whole maps.
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
    """The properties of a parameter that determine its optimizer and learning rate."""

    kind: Literal["matrix", "embedding", "head", "vector"]
    """`matrix`: a hidden linear map [out, in]; `embedding` and `head`: [V, D]; `vector`: a norm's gain."""
    rows: tuple[int, ...] = ()
    """For a `matrix`: the output rows of each map fused in it, in order. Their sum is its first dimension."""
    rate_ratio: float = 1.0
    """Factor on the learning rate of its kind."""


class Transformer(nn.Module):
    """The language model. `config` is its configuration, and `compute_dtype` the number type of its activations."""

    def __init__(self, config: ModelConfig, *, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        self.activation_checkpointing = False
        """Whether the backward pass recomputes the activations of each block. This takes a third more matrix products,
        and memory for the activations of one block instead of all. Results are equal to the bit."""
        self.learning_rate_ratio = 1.0
        """Factor on the learning rates of this model if several models are trained together."""
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
        """Logits [B, T, V] of `tokens` [B, T]; with `targets` [B, T], the cross entropy in nats.

        `temperature` divides the logits. `at` restricts the result to n places, given as their rows and positions: the
        logits are then [n, V], and `targets` are [n]. If `logits` is false, returns the hidden states before the head.
        A reward model returns scores [B, T] or [n] in fp32 instead of logits.

        The targets must already be shifted by one token. Targets equal to `IGNORED` have no loss. `reduction` `sum`
        gives a scalar in fp32. `none` gives one value per position [B, T], and its gradient costs one more matrix
        product. `z_loss` is the weight of the squared logarithm of the softmax's denominator in the sum. For the other
        arguments, see `hidden_states`.
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
        """The last hidden states [B, T, D] after the final norm, the input of the head.

        `at` restricts the result to n places [n, D], given as their rows and positions. The last feed-forward layer is
        then computed only for these places.

        `positions` [T] or [B, T] default to 0, 1, 2, ... `mask` [B, T, T] is true if a query (second dimension) may
        attend to a key (third dimension); every query needs at least one key. With `causal=False`, tokens also attend
        to later tokens. With a `cache`, the tokens continue its rows. The caller must then call `cache.advance` with
        the number of tokens to keep.
        """
        if cache is not None:
            assert mask is None, "a cache computes its own mask"
            assert positions is None, "a cache counts positions itself"
            assert causal, "a cache supports causal attention only"
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
                assert at is None, "`at` is not supported with activation checkpointing"
                x = checkpoint(block, x, rotation, seen, causal, None, use_reentrant=False, preserve_rng_state=False)
            else:
                last = number == self.config.num_hidden_layers - 1
                x = block(x, rotation, seen, causal, None if cache is None else (cache, number), at if last else None)
        return plain.rms_norm(x, self.norm, self.config.rms_norm_eps)

    def _near(self, length: int, positions: Tensor | None, device: torch.device) -> Tensor:
        """The mask [1 or B, 1, T, T] of the keys within the sliding window, before and after each query."""
        assert self.config.sliding_window is not None
        where = torch.arange(length, device=device) if positions is None else positions.to(device)
        where = where.reshape(-1, length)
        return ((where[:, :, None] - where[:, None, :]).abs() < self.config.sliding_window)[:, None]

    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.layers))

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compiles the blocks with torch. The first pass of each kind then takes several seconds longer.

        Blocks with the same window share their graphs, so compiling 36 layers takes as long as compiling one. Graphs
        for other windows and other models in the process do not count towards `MOST_GRAPHS`. Sharding and activation
        checkpointing wrap the compiled blocks.
        """
        for window in {block.window for block in self.blocks()}:
            # The overloads of `torch.compile` in torch 2.13 lack two of its arguments.
            compute: Callable[..., Tensor] = torch.compile(  # type: ignore[call-overload]
                Block.compute, backend=backend, isolate_recompiles=True, recompile_limit=MOST_GRAPHS
            )
            for block in self.blocks():
                if block.window == window:
                    block.compiled = compute

    def head(self) -> Tensor:
        """The output matrix [V, D]; the embedding if they are tied."""
        return self.embed_tokens if self.lm_head is None else self.lm_head

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Initialises every parameter. The values depend on `seed` and the parameter's name only, not on the device.

        Embedding and head are N(0, initializer_range^2). Maps that write to the residual stream are zero, so every
        block starts as the identity. Other maps are N(0, 1 / (3 fan_in)) (modded-nanogpt, track 3). Gains are one.
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
            else:  # an adapter's matrix is a single map
                roles[name] = ParameterRole("matrix", (parameter.shape[0],))
        ratio = self.learning_rate_ratio
        return {name: replace(role, rate_ratio=ratio) for name, role in roles.items()} if ratio != 1 else roles


class Block(nn.Module):
    """Attention, then a gated feed-forward layer. Each takes the normalised x as input and adds its output to x."""

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        self.config = c = config
        self.window = config.window(number)
        self.compiled: Callable[..., Tensor] | None = None
        """`compute`, compiled by torch; None if the model is not compiled."""
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
        """Low-rank adapters by the name of their projection; see `model.lora`."""

    def rows(self, matrix: str) -> tuple[int, ...]:
        """The output rows of each map fused in a matrix, in the order of `FUSED`."""
        c = self.config
        return {
            "qkv": (c.query_size, c.key_value_size, c.key_value_size),
            "gate_up": (c.intermediate_size, c.intermediate_size),
        }.get(matrix, (c.hidden_size,))

    def matrix(self, name: str) -> Tensor:
        """The matrix called `name`, including the changes of its adapters."""
        weight: Tensor = getattr(self, name)
        parts = FUSED[name]
        if not any(part in self.adapters for part in parts):
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
        """The block's output [B, T, D] for x [B, T, D]; [n, D] if `at` gives n places.

        `mask` [B, 1, T, S] is true if a query attends to a key. `cache` is a cache with the number of this layer.

        Passes with `cache` or `at` are not compiled: these arguments change with every call, and each value would need
        its own graph.
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
        """The computation of `forward`, which torch may compile."""
        c = self.config
        # Compiled blocks use the plain formulas, because the compiler fuses them.
        by_hand = x.device.type == "cpu" and cache is None and self.compiled is None
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
    """A low-rank change of a linear map [out, in]: `scale` times `up` [out, r] times `down` [r, in]."""

    def __init__(self, rows: int, columns: int, r: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(r, columns))
        self.up = nn.Parameter(torch.zeros(rows, r))
        self.scale = scale

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Sets `down` to uniform values within +- 1 / sqrt(in), as in `peft`, and `up` to zero."""
        bound = self.down.shape[1] ** -0.5
        self.down.copy_((2 * torch.rand(self.down.shape, generator=generator) - 1) * bound)
        self.up.zero_()

    def added_to(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


SHAPES, MODES, SIGHTS = 6, 3, 4
MOST_GRAPHS = SHAPES * MODES * SIGHTS
"""Maximum number of graphs per compiled block. Beyond this limit, passes of a new kind run slowly, without a graph.

- 6 shapes: the first shape, a variable number of rows, a variable length; and each again with a single row, because
  torch specialises sizes of 1.
- 3 modes: with gradients, including or excluding the gradient of the input (with adapters, the embedding is frozen);
  and without gradients.
- 4 kinds of attention: causal, bidirectional, one mask for all rows, and one mask per row.

Torch's default limit of 8 covers only two shapes, with and without a window, in two modes."""

FUSED = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "out": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}
"""The projections, with Hugging Face's names, whose rows are stacked in each matrix of a block."""


def generator_for(seed: int, name: str) -> torch.Generator:
    """A random generator on the CPU, seeded by `seed` and `name` only."""
    digest = hashlib.sha256(f"{seed}\x00{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def document_mask(documents: Tensor) -> Tensor:
    """The mask [B, T, T] that limits attention to a token's own document, given its document number [B, T]."""
    return documents[:, :, None] == documents[:, None, :]
