"""The optimizers: Muon for the hidden matrices, AdamW for all other parameters.

Muon (Jordan et al. 2024) replaces the momentum of a weight matrix by the nearest orthogonal matrix, so that the update
has the same size in every direction. Five Newton-Schulz iterations approximate this matrix with products only. Muon
reaches a given loss in about two thirds of AdamW's steps at 100M parameters, and gains less at 1B (modded-nanogpt,
track 3). Embedding, head and gains have no such geometry and use AdamW.

A Muon step costs about 5 * (4 m + 2 n) m n flops for a matrix [m, n] with m <= n, independent of the batch. Its state
is one number per parameter, compared with two for AdamW. Matrices of equal shape are orthogonalised in one batch. Maps
fused into one matrix (queries, keys and values) are orthogonalised separately.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from bessemer.model.transformer import ParameterRole
from bessemer.train.lanes import Lanes
from bessemer.train.settings import TrainingPlan
from bessemer.train.sharding import Exchange, local

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of x -> a x + b x^3 + c x^5: the steepest slope at 0 that keeps (0, 1] near 1 (Jordan)."""
_ITERATIONS = 5
_TINY = 1e-7
_MOST_NUMBERS = 2**26
"""Elements orthogonalised in one batch: bounds the working memory at about 0.5 GiB in bf16."""


def build_optimizers(
    module: nn.Module,
    roles: Mapping[str, ParameterRole],
    plan: TrainingPlan,
    dtype: torch.dtype,
    lanes: Lanes | None = None,
) -> list[torch.optim.Optimizer]:
    """The optimizers for the trainable parameters of `module`. `roles` maps parameter names to roles.

    Each group keeps its peak rate as `initial_lr`; the schedule multiplies it. Muon computes its matrix products in
    `dtype` and on `lanes`, or on the calling thread if `lanes` is None.
    """
    adamw: list[dict[str, Any]] = []
    muon: list[dict[str, Any]] = []
    grouped: dict[tuple[ParameterRole, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:  # one update cannot mix sharded and unsharded parameters
            grouped.setdefault((roles[name], isinstance(parameter, DTensor)), []).append(parameter)
    rates = {
        "matrix": plan.learning_rate,
        "embedding": plan.embedding_learning_rate,
        "head": plan.head_learning_rate,
        "vector": plan.vector_learning_rate,
    }
    for (role, _), parameters in grouped.items():
        rate = rates[role.kind] * role.rate_ratio
        group: dict[str, Any] = {"params": parameters, "lr": rate, "initial_lr": rate}
        if role.kind != "matrix":
            adamw.append(group | {"weight_decay": 0.0})
        elif plan.optimizer == "adamw":
            adamw.append(group | {"weight_decay": plan.weight_decay})
        else:
            muon.append(group | {"weight_decay": plan.weight_decay, "rows": role.rows})
    built: list[torch.optim.Optimizer] = []
    if muon:
        built.append(Muon(muon, momentum=plan.momentum, dtype=dtype, lanes=lanes))
    if adamw:
        built.append(AdamW(adamw, betas=(plan.beta1, plan.beta2), eps=1e-10, fused=True))
    return built


def set_learning_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


class AdamW(torch.optim.AdamW):
    """torch's AdamW with a check that gradients and state have the memory layout of their parameters.

    The fused CPU kernel reads these tensors in memory order and ignores their strides. With another layout it would
    pair each number with the gradient of a different number (seen in torch 2.13). The GPU kernel rejects other layouts.
    """

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                for tensor in (parameter.grad, *self.state.get(parameter, {}).values()):
                    if tensor is not None and tensor.ndim:  # skips the step count, a scalar
                        assert _layout(tensor) == _layout(parameter), "AdamW needs tensors laid out like the parameter"
        super().step()


def _layout(tensor: Tensor) -> list[tuple[int, int]]:
    """The size and stride of each dimension, except dimensions of size 1, whose stride has no effect."""
    piece = local(tensor)
    return [(size, stride) for size, stride in zip(piece.shape, piece.stride(), strict=True) if size > 1]


class _Map(NamedTuple):
    """A linear map [m, n] inside a parameter, with its gradient and momentum. All three are views."""

    weight: Tensor
    gradient: Tensor
    momentum: Tensor


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum, scaled by sqrt(max(1, rows / columns)), with decoupled weight decay.

    Each matrix [sum(rows), n] of a group is split into maps with `rows` rows. The Newton-Schulz iterations run in
    `dtype`, in parallel on `lanes`.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
        lanes: Lanes | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "rows": ()})
        self.dtype = dtype
        self.lanes = lanes or Lanes(1, threads=1)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            maps: dict[torch.Size, list[_Map]] = {}
            sharded: dict[torch.Size, list[DTensor]] = {}
            for parameter in group["params"]:
                if isinstance(parameter, DTensor):
                    sharded.setdefault(parameter.shape, []).append(parameter)
                elif parameter.grad is not None:
                    rows = list(group["rows"] or parameter.shape[:1])
                    cuts = (x.detach().split(rows) for x in (parameter, parameter.grad, self._momentum(parameter)))
                    for found in itertools.starmap(_Map, zip(*cuts, strict=True)):
                        maps.setdefault(found.weight.shape, []).append(found)
            bundles = [bundle for alike in maps.values() for bundle in self._bundles(alike)]
            self.lanes.map(partial(self._update, group), bundles)
            for alike in sharded.values():
                size = alike[0].device_mesh.size()
                for start in range(0, len(alike), size):
                    self._update_sharded(group, alike[start : start + size])

    @torch.no_grad()  # set here because gradient mode is per thread
    def _update(self, group: dict[str, Any], maps: list[_Map]) -> None:
        gradients, momenta = [m.gradient for m in maps], [m.momentum for m in maps]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch.stack(torch._foreach_lerp(gradients, momenta, group["momentum"]))
        scale = _scale(maps[0].weight.shape)
        updates = orthogonalise(ahead.to(self.dtype)).to(ahead.dtype)
        weights = [m.weight for m in maps]
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(updates.unbind()), alpha=-group["lr"] * scale)

    @torch.no_grad()
    def _update_sharded(self, group: dict[str, Any], parameters: list[DTensor]) -> None:
        """Gathers each matrix on one worker to orthogonalise it. The momentum stays sharded like the parameter."""
        exchange = Exchange(parameters)
        ahead = []
        for parameter in parameters:
            gradient = torch.zeros_like(local(parameter)) if parameter.grad is None else local(parameter.grad)
            momentum = local(self._momentum(parameter)).lerp_(gradient, 1 - group["momentum"])
            ahead.append(gradient.lerp(momentum, group["momentum"]))
        mine = exchange.gather(ahead)
        update = None
        if mine is not None:
            maps = torch.split(mine, list(group["rows"] or mine.shape[:1]))
            update = torch.cat([orthogonalise(m[None].to(self.dtype))[0].to(m.dtype) * _scale(m.shape) for m in maps])
        weights = [local(parameter.data) for parameter in parameters]
        for weight, piece in zip(weights, exchange.deal(update, weights), strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(piece, alpha=-group["lr"])

    def _bundles(self, maps: list[_Map]) -> list[list[_Map]]:
        """Splits maps of one shape into batches of bounded size, and into at least one batch per lane if possible."""
        size = min(max(1, _MOST_NUMBERS // maps[0].weight.numel()), -(-len(maps) // self.lanes.count))
        return [maps[start : start + size] for start in range(0, len(maps), size)]

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        return buffer


def _scale(shape: torch.Size) -> float:
    rows, columns = shape
    return float(max(1.0, rows / columns) ** 0.5)


def orthogonalise(matrices: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrix to each of `matrices` [k, m, n], with singular values from 0.7 to 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
