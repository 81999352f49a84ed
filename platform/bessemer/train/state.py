"""The tensors of a training run by name: `parameter/<name>` and `optimizer/<name>/<key>`.

The plan supplies learning rates, betas and similar values, so a checkpoint does not store them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bessemer.model.transformer import ParameterRole, Transformer
from bessemer.train.checkpoint import Checkpoint
from bessemer.train.sharding import whole


def parameter_roles(module: nn.Module) -> dict[str, ParameterRole]:
    """The role of every parameter of the trainer's module, by name.

    The model defines the roles of its parameters. Parameters that an objective adds get roles that AdamW optimizes.
    """
    roles: dict[str, ParameterRole] = {}
    for name, part in module.named_modules():
        if isinstance(part, Transformer):
            roles |= {f"{name}.{inner}": role for inner, role in part.parameter_roles().items()}
    for name, parameter in module.named_parameters():
        roles.setdefault(name, ParameterRole("vector" if parameter.ndim < 2 else "head"))
    return roles


def tensors(module: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor that a resumed run needs, by name, without copies.

    Frozen parameters are omitted; they are reloaded from the base model.
    """
    names: dict[Tensor, str] = {
        parameter: name for name, parameter in module.named_parameters() if parameter.requires_grad
    }
    found = {f"parameter/{name}": parameter.detach() for parameter, name in names.items()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            found |= {f"optimizer/{names[parameter]}/{key}": value for key, value in state.items()}
    return found


def whole_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The trainable parameters, unsharded and in main memory, named as in `tensors`. All workers must call it."""
    return {name: whole(tensor).cpu() for name, tensor in tensors(module, ()).items()}


def create_optimizer_state(
    module: nn.Module, optimizers: Iterable[torch.optim.Optimizer], checkpoint: Checkpoint
) -> None:
    """Creates zero-filled state in new optimizers, on the devices of the parameters, for `checkpoint.load` to fill.

    A state tensor has the shape of its parameter or is a scalar, the step count. Fused optimizers need the step count
    on the parameter's device too.
    """
    owners = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    parameters = dict(module.named_parameters())
    for stored, shape in checkpoint.shapes().items():
        kind, _, rest = stored.partition("/")
        name, _, key = rest.rpartition("/")
        parameter = parameters.get(name)
        if kind == "optimizer" and parameter is not None and parameter in owners:
            like = parameter.shape == shape
            empty = torch.zeros_like(parameter) if like else torch.zeros(shape, device=parameter.device)
            owners[parameter].state[parameter][key] = empty
