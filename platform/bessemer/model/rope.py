"""Rotary positions (RoFormer, arXiv 2104.09864), in the half-split layout of Llama and Qwen.

Features i and i + d/2 of a head form a plane, which is rotated by the angle position * theta^(-2i/d).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bessemer.model.config import ModelConfig

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of every angle, fp32, each [1 or B, T, 1, d/2]."""


def frequencies(config: ModelConfig) -> Tensor:
    """The rotation of each plane in radians per position, fp32 [d/2], with Llama 3's scaling if the config sets it."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    base = 1.0 / (config.rope_theta**exponents)
    scaling = config.rope_scaling
    if scaling is None:
        return base
    wavelengths = 2 * math.pi / base
    turns = scaling.original_max_position_embeddings / wavelengths
    smooth = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    smooth = smooth.clamp(0, 1)
    return base / scaling.factor * (1 - smooth) + base * smooth


def rotation(config: ModelConfig, length: int, positions: Tensor | None, device: torch.device) -> Rotation:
    """The rotation at `positions` [T] or [B, T]. If None, the positions are 0 .. length - 1."""
    if positions is None:
        positions = torch.arange(length, device=device)
    angles = positions.to(device, torch.float32)[..., None] * frequencies(config).to(device)
    if angles.ndim == 2:
        angles = angles[None]
    angles = angles[:, :, None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """x [B, T, heads, d], rotated by `rotation`."""
    cosine, sine = (table.to(x.dtype) for table in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
