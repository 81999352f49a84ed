"""Optimizer state is created on the device of its parameter, in the parameter's memory layout."""

from __future__ import annotations

import pytest
import torch
from tests.train.small_language import PLAN, make_model
from torch import nn

from bessemer.train.optimizers import build_optimizers
from bessemer.train.state import create_optimizer_state, parameter_roles, tensors


class Stored:
    """A fake checkpoint that has shapes only."""

    def __init__(self, module, optimizers):
        self._tensors = tensors(module, optimizers)

    def shapes(self):
        return {name: tensor.shape for name, tensor in self._tensors.items()}


def training(device: str, optimizer: str):
    """A module on `device` with new optimizers."""
    module = nn.ModuleDict({"model": make_model(), "objective": nn.ModuleDict({"value": nn.Linear(32, 1)})}).to(device)
    plan = PLAN.__class__(**{**vars(PLAN), "optimizer": optimizer})
    return module, build_optimizers(module, parameter_roles(module), plan, torch.float32)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_state_for_a_checkpoint_is_created_on_the_device_of_its_parameter(optimizer):
    """On a GPU, fused optimizers reject a step count in main memory. The test uses the device `meta` in its place."""
    trained = training("cpu", optimizer)
    for parameter in trained[0].parameters():
        parameter.grad = torch.ones_like(parameter)
    for one in trained[1]:
        one.step()
    module, optimizers = training("meta", optimizer)
    create_optimizer_state(module, optimizers, Stored(*trained))
    expected, found = tensors(*trained), tensors(module, optimizers)
    assert found.keys() == expected.keys()
    assert any(tensor.ndim == 0 for tensor in expected.values()), "the step counts must be included"
    for name, tensor in found.items():
        like = expected[name]
        assert tensor.device.type == "meta", name
        assert (tensor.shape, tensor.stride(), tensor.dtype) == (like.shape, like.stride(), like.dtype), name


def test_state_has_the_memory_layout_of_its_parameter():
    parameter = nn.Parameter(torch.zeros(3, 4).T)
    module = nn.Module()
    module.matrix = parameter
    optimizer = torch.optim.AdamW([parameter], fused=True)
    parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    fresh = torch.optim.AdamW([parameter], fused=True)
    create_optimizer_state(module, [fresh], Stored(module, [optimizer]))
    assert fresh.state[parameter].keys() == optimizer.state[parameter].keys()
    assert fresh.state[parameter]["exp_avg"].stride() == parameter.stride() == (1, 4)
