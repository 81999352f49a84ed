"""Fully sharded training (FSDP2): each worker holds a part of the parameters, gradients and optimizer state.

With n workers, each holds 1/n of the state, which is 16 bytes per parameter with AdamW. It gathers the parameters of
one block at a time, in the forward and in the backward pass. Network traffic is three times the parameters per micro
batch, compared with twice the gradients per step in plain data parallelism. Sharding is therefore for models whose
state and activations do not fit into memory together.

The rows of each parameter are split into equal pieces, as by `torch.chunk`. Gradients are summed over the workers in
fp32, like those of `Workers.sum_gradients`.
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
"""Bytes of state per parameter: the parameter, its gradient and AdamW's two moments, all in fp32."""


def should_shard(wanted: Literal["auto", "none", "full"], num_parameters: int, workers: Workers) -> bool:
    """Whether to shard a model. `auto` shards if the state needs more than half of a GPU's memory; never on CPUs."""
    if workers.size == 1 or wanted != "auto":
        return workers.size > 1 and wanted == "full"
    if workers.device.type != "cuda":
        return False
    return STATE_BYTES * num_parameters > torch.cuda.get_device_properties(workers.device).total_memory / 2


def shard(model: Transformer, workers: Workers) -> None:
    """Shards `model` in place. Every worker must hold the full model; afterwards, passes gather it block by block."""
    mesh = init_device_mesh(workers.device.type, (workers.size,))
    for module in (*model.blocks(), model):
        fully_shard(module, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no reduction that multiplies by a factor


def is_sharded(model: torch.nn.Module) -> bool:
    return isinstance(model, FSDPModule)


def local(tensor: Tensor) -> Tensor:
    """This worker's piece of a sharded tensor, as a view. Returns other tensors unchanged."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Gathers a sharded tensor on every worker and returns it in full. Returns other tensors unchanged."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def reshard(model: Transformer) -> None:
    """Frees the parameters of a sharded model that a forward pass without a backward pass left gathered."""
    if isinstance(model, FSDPModule):
        model.reshard()


def gradient_norm(gradients: Iterable[Tensor], workers: Workers) -> float:
    """The norm of all gradients together. Sharded and unsharded gradients may be mixed."""
    gradients = list(gradients)
    plain = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    norm = float(torch.nn.utils.get_total_norm(plain)) if plain else 0.0
    pieces = [local(gradient) for gradient in gradients if isinstance(gradient, DTensor)]
    if not pieces:
        return norm
    squared = torch.nn.utils.get_total_norm(pieces).double().square()
    return float((workers.sum(squared) + norm**2).sqrt())


def copy_to_cpu(tensor: Tensor, mesh: DeviceMesh | None) -> Tensor:
    """A copy of `tensor` in main memory. A sharded tensor stays sharded, on `mesh`, a mesh of CPUs."""
    if not isinstance(tensor, DTensor):
        return tensor.detach().to("cpu", copy=True)
    assert mesh is not None
    piece = local(tensor.detach()).to("cpu", copy=True)
    return DTensor.from_local(
        piece, mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )


class Exchange:
    """Gathers several sharded matrices, each on one worker, and scatters their updates again.

    Worker k of n gets the k-th of at most n matrices of one shape [rows, columns]. Each worker sends its pieces of all
    matrices and receives its pieces of all updates. This takes two messages of the size of a matrix per worker,
    independent of n.
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
        """The index of the matrix that this worker gathers; None if there are more workers than matrices."""
        return self._rank if self._rank < self._count else None

    def gather(self, pieces: list[Tensor]) -> Tensor | None:
        """Sends `pieces`, this worker's piece of each matrix, and returns the full matrix `mine`, if any."""
        sent = pieces[0].new_zeros(self._size, self._piece, self._shape[1])
        for number, piece in enumerate(pieces):
            sent[number, : len(piece)] = piece
        received = self._swap(sent)
        return None if self.mine is None else received.flatten(0, 1)[: self._shape[0]]

    def deal(self, update: Tensor | None, like: list[Tensor]) -> list[Tensor]:
        """Sends `update`, the full update of matrix `mine`, and returns this worker's piece of each matrix's update.

        The pieces have the shapes of `like`.
        """
        sent = like[0].new_zeros(self._size * self._piece, self._shape[1])
        if update is not None:
            sent[: self._shape[0]] = update
        received = self._swap(sent.view(self._size, self._piece, self._shape[1]))
        return [received[number, : len(piece)] for number, piece in enumerate(like)]

    def _swap(self, sent: Tensor) -> Tensor:
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self._group)
        return received
