"""The decoder's logits equal those of the general network, for both families and for rows of different lengths."""

from __future__ import annotations

import pytest
import torch

from bessemer.generate.decoder import Decoder
from bessemer.model.cache import KeyValueCache
from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer


@pytest.mark.parametrize("qk_norm", [True, False], ids=["qwen3", "llama"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
@torch.no_grad()
def test_logits_equal_those_of_the_whole_text(qk_norm: bool, dtype: torch.dtype, tolerance: float) -> None:
    shape = ModelShape(size="nano", num_hidden_layers=2, qk_norm=qk_norm, tie_word_embeddings=qk_norm)
    model = Transformer(shape.resolve(vocab_size=1100, max_seq_length=32))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.15, generator=generator)
    tokens = torch.randint(0, 1100, (3, 20), generator=generator)
    whole = model(tokens)

    model.to(dtype).compute_dtype = dtype
    cache = KeyValueCache(model.config, 3, 20, dtype=dtype)
    lengths = torch.tensor([4, 9, 6])
    decoder = Decoder(model)
    logits = decoder.step(tokens[:, :9], cache, at=[length - 1 for length in lengths.tolist()])
    cache.advance(lengths.tolist())
    for step in range(8):
        places = lengths + step
        expected = whole[torch.arange(3), places - 1]
        assert (logits.float() - expected).abs().max() < tolerance * expected.abs().max()
        logits = decoder.step(tokens.gather(1, places[:, None]).squeeze(1), cache)
        cache.advance(1)
