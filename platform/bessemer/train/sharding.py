"""Fully sharded training (FSDP2): parameters, gradients and optimizer state are cut among the workers.

A worker holds 1/n of the state, 16 bytes a parameter with AdamW, and gathers one block's parameters at a time, forward
and back. Gathering and reducing move three times the parameters a micro batch, where plain data parallelism moves
twice the gradients a step, so sharding is for models whose state does not fit beside their activations.

Rows of each parameter are dealt out in equal pieces, as `torch.chunk` cuts them. Gradients are sums over the workers,
in fp32, like those of `Workers.sum_gradients`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from bessemer.model.transformer import Transformer
from bessemer.train.workers import Workers

STATE_BYTES = 16
"""Of a parameter: itself, its gradient and AdamW's two moments in fp32."""


def should_shard(wanted: Literal["auto", "none", "full"], num_parameters: int, workers: Workers) -> bool:
    """Whether to shard a model; `auto`: if its state would take more than half of a GPU's memory, on CPUs never."""
    if workers.size == 1 or wanted != "auto":
        return workers.size > 1 and wanted == "full"
    if workers.device.type != "cuda":
        return False
    return STATE_BYTES * num_parameters > torch.cuda.get_device_properties(workers.device).total_memory / 2


def shard(model: Transformer, workers: Workers) -> None:
    """Cuts a model that every worker holds whole; it is gathered block by block from now on."""
    mesh = init_device_mesh(workers.device.type, (workers.size,))
    for module in (*model.blocks(), model):
        fully_shard(module, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no product with a factor


def is_sharded(model: torch.nn.Module) -> bool:
    return isinstance(model, FSDPModule)


def local(tensor: Tensor) -> Tensor:
    """This worker's piece of a sharded tensor, sharing its memory; any other tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All pieces of a sharded tensor, gathered on every worker; any other tensor itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def let_go(model: Transformer) -> None:
    """Frees what a forward pass without a backward pass left gathered of a sharded model."""
    if isinstance(model, FSDPModule):
        model.reshard()


def gradient_norm(gradients: Iterable[Tensor], workers: Workers) -> float:
    """The norm of all gradients together, whether sharded or held by every worker alike."""
    gradients = list(gradients)
    plain = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    norm = float(torch.nn.utils.get_total_norm(plain)) if plain else 0.0
    pieces = [local(gradient) for gradient in gradients if isinstance(gradient, DTensor)]
    if not pieces:
        return norm
    squared = torch.nn.utils.get_total_norm(pieces).double().square()
    return float((workers.sum(squared) + norm**2).sqrt())


def copy_to_cpu(tensor: Tensor, mesh: DeviceMesh | None) -> Tensor:
    """A copy in main memory; of a sharded tensor its pieces, on `mesh`, a mesh of CPUs."""
    if not isinstance(tensor, DTensor):
        return tensor.detach().to("cpu", copy=True)
    assert mesh is not None
    piece = local(tensor.detach()).to("cpu", copy=True)
    return DTensor.from_local(
        piece, mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )


class Exchange:
    """Gathers whole matrices on one worker each, and deals their updates out again, many at a time.

    Worker k of n gets the k-th of at most n matrices of one shape [rows, columns]; each worker sends its pieces of all
    and receives its pieces of all updates: two messages of the matrices' size, whatever n is.
    """

    def __init__(self, parameters: list[DTensor]) -> None:
        self._group: dist.ProcessGroup = parameters[0].device_mesh.get_group()
        self._size, self._rank = dist.get_world_size(self._group), dist.get_rank(self._group)
        self._shape = parameters[0].shape
        self._count = len(parameters)
        assert self._count <= self._size
        assert all(parameter.shape == self._shape for parameter in parameters)
        self._piece = -(-self._shape[0] // self._size)  # rows, as torch.chunk cuts them

    @property
    def mine(self) -> int | None:
        """The number of the matrix that this worker gathers."""
        return self._rank if self._rank < self._count else None

    def gather(self, pieces: list[Tensor]) -> Tensor | None:
        """From this worker's piece of each matrix, the whole of its own."""
        sent = pieces[0].new_zeros(self._size, self._piece, self._shape[1])
        for number, piece in enumerate(pieces):
            sent[number, : len(piece)] = piece
        received = self._swap(sent)
        return None if self.mine is None else received.flatten(0, 1)[: self._shape[0]]

    def deal(self, update: Tensor | None, like: list[Tensor]) -> list[Tensor]:
        """This worker's piece of every worker's `update`; pieces have the shapes of `like`."""
        sent = like[0].new_zeros(self._size * self._piece, self._shape[1])
        if update is not None:
            sent[: self._shape[0]] = update
        received = self._swap(sent.view(self._size, self._piece, self._shape[1]))
        return [received[number, : len(piece)] for number, piece in enumerate(like)]

    def _swap(self, sent: Tensor) -> Tensor:
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self._group)
        return received
