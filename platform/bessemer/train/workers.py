"""The worker processes that train one model together, and the reductions over them.

Training is data parallel: every worker holds the full model and computes its part of the global batch. Gradients are
summed over the workers in buckets after the last micro batch, so gradient accumulation causes no network traffic. Sums
have a fixed order, so equal runs on the same number of workers are equal to the bit. A single worker needs no process
group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

_BUCKET_NUMBERS = 2**23
"""Gradient elements per message: 32 MiB in fp32. This is enough to saturate the network, and small next to a model."""


@dataclass(frozen=True)
class Workers:
    rank: int
    size: int
    device: torch.device

    @classmethod
    def of_process_group(cls, device: torch.device) -> Workers:
        """The workers of the default process group, or a single worker if no process group exists."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size(), device)
        return cls(0, 1, device)

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over the workers."""
        if self.size == 1:
            return values
        total = values.to(self.device, copy=True)
        dist.all_reduce(total)
        return total

    def most(self, value: int) -> int:
        """The largest `value` over the workers."""
        if self.size == 1:
            return value
        largest = torch.tensor(value, device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def each(self, value: int) -> list[int]:
        """The `value` of every worker, by rank."""
        mine = torch.zeros(self.size, dtype=torch.int64)
        mine[self.rank] = value
        return [int(found) for found in self.sum(mine)]

    def from_first(self, value: float) -> float:
        """Worker 0's `value`, on every worker. Numbers that decide control flow must be equal to the last bit."""
        return float(self.sum(torch.tensor(value if self.rank == 0 else 0.0, dtype=torch.float64)))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by its sum over the workers. A gradient of None counts as zero."""
        if self.size == 1:
            return
        for bucket in _buckets(parameters):
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if bucket and sum(p.numel() for p in bucket) + parameter.numel() > _BUCKET_NUMBERS:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
