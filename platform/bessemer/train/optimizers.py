"""AdamW, and Muon for the hidden matrices.

Muon (Jordan et al. 2024) replaces the momentum of a weight matrix by the nearest orthogonal matrix, found with five
Newton-Schulz iterations (products only), so that every direction of the matrix learns at the same pace. It reaches
a given loss in about two thirds of AdamW's steps at 100M parameters and less of a gain at 1B (facts in
modded-nanogpt, track 3). Embedding, head and gains have no such geometry and stay with AdamW.

The cost of a Muon step is about 5 * (4 m + 2 n) m n flops for a matrix [m, n], m <= n, whatever the batch; its state
is one number a parameter where AdamW has two. Matrices of one shape are orthogonalised together, and maps fused in
one matrix (queries, keys and values) each by itself.
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
from bessemer.train.settings import Plan
from bessemer.train.sharding import Exchange, local

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic x -> a x + b x^3 + c x^5 with the steepest slope at 0 that keeps [0, 1] near 1 (Jordan)."""
_ITERATIONS = 5
_TINY = 1e-7
_MOST_NUMBERS = 2**26
"""Numbers orthogonalised at once: bounds the working memory at about 0.5 GiB in bf16."""


def build_optimizers(
    module: nn.Module, roles: Mapping[str, ParameterRole], plan: Plan, dtype: torch.dtype, lanes: Lanes | None = None
) -> list[torch.optim.Optimizer]:
    """The optimizers of every parameter of `module` that learns; `roles` by parameter name.

    Each group remembers its rate as `initial_lr`, for the schedule to multiply. `dtype` is that of Muon's products,
    which are computed on `lanes` (on the calling thread if None).
    """
    adamw: list[dict[str, Any]] = []
    muon: list[dict[str, Any]] = []
    grouped: dict[tuple[ParameterRole, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:  # sharded parameters and others cannot share an update
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
    """torch's AdamW, for gradients and state that are laid out in memory like their parameters.

    The fused kernel for CPUs reads all of them in memory order and ignores their strides, so another layout pairs each
    number with the gradient of another one (seen in torch 2.13). The kernel for GPUs refuses other layouts.
    """

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                for tensor in (parameter.grad, *self.state.get(parameter, {}).values()):
                    if tensor is not None and tensor.ndim:  # the number of steps has no dimension
                        assert _layout(tensor) == _layout(parameter), "AdamW needs tensors laid out like the parameter"
        super().step()


def _layout(tensor: Tensor) -> list[tuple[int, int]]:
    """The size and stride of each dimension; those of size 1 have no layout."""
    piece = local(tensor)
    return [(size, stride) for size, stride in zip(piece.shape, piece.stride(), strict=True) if size > 1]


class _Map(NamedTuple):
    """A linear map [m, n] inside a parameter, with what belongs to it; views all."""

    weight: Tensor
    gradient: Tensor
    momentum: Tensor


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)), with decoupled weight decay.

    A group's `rows` say how its matrices [sum(rows), n] are cut into maps; `dtype` is that of the iterations, and
    `lanes` compute side by side.
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

    @torch.no_grad()  # a thread has its own switch
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
        """Each matrix is orthogonalised by one worker; momentum stays where its rows are."""
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
        """Maps of one shape in lists of bounded size, at least one for each lane."""
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
    """The nearest (semi-)orthogonal matrix of each of `matrices` [k, m, n], its singular values within 0.7 .. 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
