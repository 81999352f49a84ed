"""The configuration of a model, with Hugging Face's field names.

`ModelConfig` is complete: it has every number that the network needs. `ModelShape` is the setting in a recipe: a named
size, and fields that override it. `resolve` turns it into a `ModelConfig` once the vocabulary is known.

The network is exactly Qwen3 (`qk_norm: true`) or Llama (`qk_norm: false`), so an exported model loads in unmodified
`transformers`, vLLM and llama.cpp.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from bessemer.recipe.settings import Settings

LayerType = Literal["full_attention", "sliding_attention"]
SizeName = Literal["nano", "tiny", "mini", "small", "medium", "large", "1b", "4b", "8b"]


class NamedSize(NamedTuple):
    """The dimensions of a named size. Heads are 64 wide in small models and 128 in larger ones, as in both families."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int | None = None
    """8/3 of `hidden_size` if None."""


NAMED_SIZES: dict[SizeName, NamedSize] = {
    "nano": NamedSize(4, 128, 2, 1, 64),
    "tiny": NamedSize(4, 256, 4, 2, 64),
    "mini": NamedSize(8, 512, 8, 4, 64),
    "small": NamedSize(12, 768, 6, 3, 128),
    "medium": NamedSize(24, 1024, 8, 4, 128),
    "large": NamedSize(28, 1536, 12, 6, 128),
    "1b": NamedSize(28, 2048, 16, 8, 128),
    "4b": NamedSize(36, 2560, 32, 8, 128, 9728),
    "8b": NamedSize(36, 4096, 32, 8, 128, 12288),
}


MAXIMUM = {
    "vocab_size": 1 << 27,
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 22,
    "num_hidden_layers": 1 << 10,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "head_dim": 1 << 14,
}
"""Sizes far beyond every published model. A larger one is a mistake, and would only end when memory does."""


def _check_sizes(settings: Settings) -> None:
    """Raises ValueError for a size beyond `MAXIMUM`."""
    for name, most in MAXIMUM.items():
        value = getattr(settings, name, None)
        if value is not None and value > most:
            raise ValueError(f"`{name}` is {value}, more than the largest supported {most}")


class RopeScaling(Settings):
    """Llama 3's scaling of the rotary frequencies, for contexts longer than in the original training."""

    factor: float = Field(gt=0)
    """Factor by which the context was lengthened."""
    low_freq_factor: float
    """Wavelengths above `original_max_position_embeddings / low_freq_factor` are multiplied by `factor`."""
    high_freq_factor: float
    """Wavelengths below `original_max_position_embeddings / high_freq_factor` stay unchanged."""
    original_max_position_embeddings: PositiveInt
    """Context length before it was lengthened."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low_freq_factor < self.high_freq_factor:
            raise ValueError("`low_freq_factor` must be smaller than `high_freq_factor`")
        return self


class ModelConfig(Settings):
    """Every number that the network needs, with the field names of Hugging Face's `config.json`."""

    vocab_size: PositiveInt
    """Number of token ids."""
    hidden_size: PositiveInt
    """Width of the residual stream."""
    intermediate_size: PositiveInt
    """Inner width of the gated feed-forward layers."""
    num_hidden_layers: PositiveInt
    """Number of transformer blocks."""
    num_attention_heads: PositiveInt
    """Number of query heads."""
    num_key_value_heads: PositiveInt
    """Number of key and value heads; each serves an equal group of query heads."""
    head_dim: PositiveInt
    """Width of one head."""
    max_position_embeddings: PositiveInt
    """Longest supported sequence, in tokens (`max_seq_length` in training)."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary position frequencies."""
    rope_scaling: RopeScaling | None = None
    """Llama 3's frequency scaling, for imported checkpoints that use it."""
    rms_norm_eps: float = Field(1e-6, gt=0)
    """Constant added to the mean square inside the norm's square root."""
    tie_word_embeddings: bool = True
    """Whether the output head is the embedding matrix."""
    qk_norm: bool = True
    """Whether queries and keys are normalised per head: true for Qwen3, false for Llama."""
    sliding_window: PositiveInt | None = None
    """Number of tokens to which a sliding-window layer attends, including the current one."""
    layer_types: tuple[LayerType, ...] | None = None
    """Attention of each layer if `sliding_window` is set: `full_attention` or `sliding_attention`."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the embedding and of an untied head at initialisation."""
    is_causal: bool = True
    """Whether the model generates from left to right; false for a model trained only on masked tokens."""
    is_reward: bool = False
    """Whether the model outputs one score per text instead of next-token logits."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_sizes(self)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"`num_key_value_heads` ({self.num_key_value_heads}) must divide "
                f"`num_attention_heads` ({self.num_attention_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"`head_dim` must be even for rotary positions, but is {self.head_dim}")
        if (self.sliding_window is None) != (self.layer_types is None):
            raise ValueError("`sliding_window` and `layer_types` must be set together")
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(
                f"`layer_types` has {len(self.layer_types)} entries, but the model has {self.num_hidden_layers} layers"
            )
        if self.sliding_window and not self.qk_norm:
            raise ValueError("`sliding_window` needs `qk_norm`: Qwen3 has sliding-window layers, Llama does not")
        return self

    def window(self, layer: int) -> int | None:
        """Number of tokens to which a layer attends, including the current one; None if it attends to all."""
        sliding = self.layer_types is not None and self.layer_types[layer] == "sliding_attention"
        return self.sliding_window if sliding else None

    @property
    def query_size(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        return self.num_key_value_heads * self.head_dim

    def num_parameters(self, *, embedding: bool = True) -> int:
        """Number of trainable parameters. If `embedding` is false, only those of blocks, norms and head.

        These parameters multiply every token. A tied embedding counts as the head.
        """
        attention = self.hidden_size * (2 * self.query_size + 2 * self.key_value_size)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        table = self.vocab_size * self.hidden_size
        head = self.hidden_size if self.is_reward else table
        separate = embedding and (self.is_reward or not self.tie_word_embeddings)
        tables = head + table if separate else head
        return self.num_hidden_layers * (attention + feed_forward + norms) + self.hidden_size + tables

    def flops_per_token(self, seq_len: int) -> int:
        """Floating-point operations per training token, forward and backward: 6 N + 12 L H d T.

        N is the number of parameters that are applied to every token (including the head, without the embedding
        lookup). The second term is for the two products of attention over the full T x T square, as in PaLM (arXiv
        2204.02311, appendix B). For a layer with a sliding window, T is the window. A forward pass alone takes a third.
        """
        seen = sum(min(seq_len, self.window(layer) or seq_len) for layer in range(self.num_hidden_layers))
        return 6 * self.num_parameters(embedding=False) + 12 * self.query_size * seen


Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROJECTIONS: tuple[Projection, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraSettings(Settings):
    """Trains low-rank adapters instead of all parameters. The field names are those of `peft`."""

    r: PositiveInt = 16
    """Rank: the inner width of each adapter."""
    lora_alpha: PositiveInt = 32
    """Scale: a weight changes by `lora_alpha` / `r` times the product of its adapter's two matrices."""
    target_modules: tuple[Projection, ...] = Field(PROJECTIONS, min_length=1)
    """The linear maps that get adapters; by default all of them."""


class ModelShape(Settings):
    """The model in a recipe: a named size, and fields that override it."""

    size: SizeName = "tiny"
    """Named size that supplies the omitted fields: `nano` (0.9M parameters in its blocks) to `8b` (Qwen3-8B's
    shape)."""
    hidden_size: PositiveInt | None = None
    """Width of the residual stream. Default: from `size`."""
    intermediate_size: PositiveInt | None = None
    """Inner width of the feed-forward layers. Default: 8/3 of `hidden_size`, rounded up to a multiple of 64; for the
    sizes `4b` and `8b`, that of Qwen3."""
    num_hidden_layers: PositiveInt | None = None
    """Number of transformer blocks. Default: from `size`."""
    num_attention_heads: PositiveInt | None = None
    """Number of query heads. Default: `hidden_size` / `head_dim`."""
    num_key_value_heads: PositiveInt | None = None
    """Number of key and value heads. Default: from `size` if the number of query heads is that of the size, otherwise
    half the query heads, or all of them if their number is odd."""
    head_dim: PositiveInt | None = None
    """Width of one head. Default: `hidden_size` / `num_attention_heads` if the heads are set, otherwise from `size`."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary position frequencies."""
    rope_scaling: RopeScaling | None = None
    """Llama 3's frequency scaling, for a context longer than in a model's original training."""
    rms_norm_eps: float = Field(1e-6, gt=0)
    """Constant added to the mean square inside the norm's square root."""
    tie_word_embeddings: bool = True
    """Whether the output head is the embedding matrix."""
    qk_norm: bool = True
    """Whether queries and keys are normalised per head: true for Qwen3, false for Llama."""
    sliding_window: PositiveInt | None = None
    """Number of tokens to which sliding-window layers attend, including the current one. Default: no layer has a
    window."""
    full_attention_interval: PositiveInt = 4
    """With `sliding_window` and interval n, every n-th layer attends to all tokens."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the embedding and of an untied head at initialisation."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_sizes(self)
        try:
            self.resolve(vocab_size=1, max_seq_length=1)
        except ValidationError as error:
            raise ValueError("; ".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None
        return self

    def resolve(self, *, vocab_size: int, max_seq_length: int) -> ModelConfig:
        """The complete configuration for a vocabulary and a sequence length. Raises ValueError for invalid fields."""
        named = NAMED_SIZES[self.size]
        hidden_size = self.hidden_size or named.hidden_size
        heads, head_dim = self._heads(hidden_size)
        half = heads // 2 if heads % 2 == 0 else heads
        groups = named.num_key_value_heads if heads == named.num_attention_heads else half
        given = self.model_dump(exclude={"size", "full_attention_interval"}, exclude_none=True)
        derived: dict[str, Any] = {
            "hidden_size": hidden_size,
            "intermediate_size": self._intermediate_size(hidden_size),
            "num_hidden_layers": named.num_hidden_layers,
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "head_dim": head_dim,
            "vocab_size": vocab_size,
            "max_position_embeddings": max_seq_length,
            "layer_types": self._layer_types(self.num_hidden_layers or named.num_hidden_layers),
        }
        return ModelConfig(**derived | given)

    def _layer_types(self, count: int) -> tuple[LayerType, ...] | None:
        if self.sliding_window is None:
            return None
        every = self.full_attention_interval
        return tuple("sliding_attention" if number % every else "full_attention" for number in range(1, count + 1))

    def _intermediate_size(self, hidden_size: int) -> int:
        named = NAMED_SIZES[self.size]
        if named.intermediate_size and self.hidden_size is None:
            return named.intermediate_size
        return -(-hidden_size * 8 // (3 * 64)) * 64

    def _heads(self, hidden_size: int) -> tuple[int, int]:
        named = NAMED_SIZES[self.size]
        if self.num_attention_heads and self.head_dim:
            return self.num_attention_heads, self.head_dim
        if self.num_attention_heads:
            if hidden_size % self.num_attention_heads:
                raise ValueError(
                    f"`num_attention_heads` ({self.num_attention_heads}) must divide `hidden_size` ({hidden_size}), "
                    "or `head_dim` must be set"
                )
            return self.num_attention_heads, hidden_size // self.num_attention_heads
        if self.hidden_size is None and self.head_dim is None:
            return named.num_attention_heads, named.head_dim
        head_dim = self.head_dim or named.head_dim
        if hidden_size % head_dim:
            raise ValueError(
                f"`hidden_size` ({hidden_size}) is not a multiple of the head width ({head_dim}); "
                "set `num_attention_heads` or `head_dim`"
            )
        return hidden_size // head_dim, head_dim
