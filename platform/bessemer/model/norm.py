"""Root-mean-square norm over the last dimension, computed in fp32 whatever the input's type."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * gain, in x's type."""
    return F.rms_norm(x.float(), (x.shape[-1],), gain.float(), eps).to(x.dtype)
