"""The shape of a model, in Hugging Face's names.

`ModelConfig` is complete: every number that the network needs. `ModelShape` is what a recipe says: a named
size, and any fields that differ from it; `resolve` makes a `ModelConfig` of it once the vocabulary is known.

The network is exactly Qwen3 (`qk_norm: true`) or Llama (`qk_norm: false`), so that an exported model loads in
stock `transformers`, vLLM and llama.cpp.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from bessemer.recipe.settings import Settings

LayerType = Literal["full_attention", "sliding_attention"]
SizeName = Literal["nano", "tiny", "mini", "small", "medium", "large", "1b", "4b", "8b"]


class NamedSize(NamedTuple):
    """The proportions of a named size; heads are 64 wide in small models, 128 above, as the families do."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int | None = None
    """8/3 of the width if None."""


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


class RopeScaling(Settings):
    """Llama 3's stretch of the rotary frequencies for contexts longer than those first trained on."""

    factor: float = Field(gt=0)
    """How many times longer the context became."""
    low_freq_factor: float
    """Wavelengths above `original_max_position_embeddings / low_freq_factor` are stretched by `factor`."""
    high_freq_factor: float
    """Wavelengths below `original_max_position_embeddings / high_freq_factor` stay as they are."""
    original_max_position_embeddings: PositiveInt
    """The context length before the stretch."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low_freq_factor < self.high_freq_factor:
            raise ValueError("`low_freq_factor` must be smaller than `high_freq_factor`")
        return self


class ModelConfig(Settings):
    """Every number the network needs; the names are those of Hugging Face's `config.json`."""

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
    """Longest sequence the model is made for (`max_seq_length` in training)."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary position frequencies."""
    rope_scaling: RopeScaling | None = None
    """Llama 3's frequency stretch, for imported checkpoints that have it."""
    rms_norm_eps: float = Field(1e-6, gt=0)
    """Added to the mean square before its root is taken."""
    tie_word_embeddings: bool = True
    """Whether the output head is the embedding matrix."""
    qk_norm: bool = True
    """Whether queries and keys are normalised per head: Qwen3 with it, Llama without."""
    sliding_window: PositiveInt | None = None
    """Tokens that a layer with a window sees, its own included."""
    layer_types: tuple[LayerType, ...] | None = None
    """What each layer sees where `sliding_window` is set: all (`full_attention`), or its window alone."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the embedding and of an untied head at the start."""
    is_causal: bool = True
    """Whether the model writes from left to right; one trained on masked tokens alone does not."""
    is_reward: bool = False
    """Whether the model gives a text one number in place of its next tokens."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"`num_key_value_heads` ({self.num_key_value_heads}) must divide "
                f"`num_attention_heads` ({self.num_attention_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"`head_dim` must be even for rotary positions, and is {self.head_dim}")
        if (self.sliding_window is None) != (self.layer_types is None):
            raise ValueError("`sliding_window` and `layer_types` go together")
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"`layer_types` names {len(self.layer_types)} layers of {self.num_hidden_layers}")
        if self.sliding_window and not self.qk_norm:
            raise ValueError("`sliding_window` needs `qk_norm`: Qwen3 has sliding layers, Llama has none")
        return self

    def window(self, layer: int) -> int | None:
        """Tokens that a layer sees, its own included; None for all."""
        sliding = self.layer_types is not None and self.layer_types[layer] == "sliding_attention"
        return self.sliding_window if sliding else None

    @property
    def query_size(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        return self.num_key_value_heads * self.head_dim

    def num_parameters(self, *, embedding: bool = True) -> int:
        """Trainable numbers; without `embedding`, those that multiply every token (blocks, norms and head)."""
        attention = self.hidden_size * (2 * self.query_size + 2 * self.key_value_size)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        table = self.vocab_size * self.hidden_size
        head = self.hidden_size if self.is_reward else table
        apart = embedding and (self.is_reward or not self.tie_word_embeddings)
        tables = head + table if apart else head
        return self.num_hidden_layers * (attention + feed_forward + norms) + self.hidden_size + tables

    def flops_per_token(self, seq_len: int) -> int:
        """Floating-point operations of one training token, forward and backward: 6 N + 12 L H d T.

        N counts the parameters that multiply every token (the head, not the embedding lookup); the second term
        is attention's two products over the whole T x T square, as in PaLM (arXiv 2204.02311, appendix B); a layer
        with a window counts with its window for T. A forward pass alone is a third of it.
        """
        seen = sum(min(seq_len, self.window(layer) or seq_len) for layer in range(self.num_hidden_layers))
        return 6 * self.num_parameters(embedding=False) + 12 * self.query_size * seen


Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROJECTIONS: tuple[Projection, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraSettings(Settings):
    """Low-rank adapters instead of all parameters, in the words of `peft`."""

    r: PositiveInt = 16
    """Rank: the inner width of each adapter."""
    lora_alpha: PositiveInt = 32
    """The change of a weight is `lora_alpha` / `r` times the product of its adapter's two matrices."""
    target_modules: tuple[Projection, ...] = Field(PROJECTIONS, min_length=1)
    """The linear maps that have adapters; all of them unless fewer are named."""


class ModelShape(Settings):
    """A model as a recipe describes it: a named size, and whatever differs from it."""

    size: SizeName = "tiny"
    """Named size that gives the fields left out: `nano` (0.9M parameters in its blocks) to `8b` (Qwen3-8B's shape)."""
    hidden_size: PositiveInt | None = None
    """Width of the residual stream; the size's if left out."""
    intermediate_size: PositiveInt | None = None
    """Inner width of the feed-forward layers; 8/3 of `hidden_size`, rounded up to a multiple of 64, if left out."""
    num_hidden_layers: PositiveInt | None = None
    """Number of transformer blocks; the size's if left out."""
    num_attention_heads: PositiveInt | None = None
    """Number of query heads; the size's, or `hidden_size` / `head_dim` if the width was set, if left out."""
    num_key_value_heads: PositiveInt | None = None
    """Number of key and value heads; the size's, or half the query heads where that is whole, else all, if left out."""
    head_dim: PositiveInt | None = None
    """Width of one head; `hidden_size` / `num_attention_heads` if the heads were set, else the size's."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary position frequencies."""
    rope_scaling: RopeScaling | None = None
    """Llama 3's frequency stretch, for a context longer than a model was first trained on."""
    rms_norm_eps: float = Field(1e-6, gt=0)
    """Added to the mean square before its root is taken."""
    tie_word_embeddings: bool = True
    """Whether the output head is the embedding matrix."""
    qk_norm: bool = True
    """Whether queries and keys are normalised per head: Qwen3 with it, Llama without."""
    sliding_window: PositiveInt | None = None
    """Tokens that layers with a window see, their own included; all layers see all if left out."""
    full_attention_interval: PositiveInt = 4
    """With `sliding_window`, one layer in this many sees all: the last of each group."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the embedding and of an untied head at the start."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            self.resolve(vocab_size=1, max_seq_length=1)
        except ValidationError as error:
            raise ValueError("; ".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None
        return self

    def resolve(self, *, vocab_size: int, max_seq_length: int) -> ModelConfig:
        """The complete configuration for a vocabulary and a sequence length. Raises ValueError if it cannot be."""
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
        head_dim = self.head_dim or named.head_dim
        if hidden_size % head_dim:
            raise ValueError(
                f"`hidden_size` ({hidden_size}) is no multiple of the head width ({head_dim}); "
                "set `num_attention_heads` or `head_dim`"
            )
        return hidden_size // head_dim, head_dim
