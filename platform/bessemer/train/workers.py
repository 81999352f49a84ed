"""The processes that train one model together: who am I, and what do we add up?

Data parallel: every worker holds the whole model, works on its part of the global batch, and the gradients are
summed in buckets after the last micro batch, so accumulation costs no traffic. Sums are made in a fixed order, so
equal runs on equally many workers are equal to the bit. One worker needs no process group at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

_BUCKET_NUMBERS = 2**23
"""Gradient numbers sent at once: 32 MiB in fp32, large enough to use the network, small beside a model."""


@dataclass(frozen=True)
class Workers:
    rank: int
    size: int
    device: torch.device

    @classmethod
    def of_process_group(cls, device: torch.device) -> Workers:
        """The workers of the default process group, or this process alone where there is none."""
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
        """The largest `value` of any worker."""
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
        """Worker 0's `value`, on every worker: what they decide by must be equal to the last bit."""
        return float(self.sum(torch.tensor(value if self.rank == 0 else 0.0, dtype=torch.float64)))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by its sum over the workers; a parameter that none here used counts as zero."""
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
