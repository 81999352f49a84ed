"""Our optimizers agree with torch's, on fused, sharded and strided matrices too."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from tests.train.small_language import PLAN, make_model
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from bessemer.model.transformer import ParameterRole
from bessemer.train.optimizers import AdamW, Muon, build_optimizers, orthogonalise, set_learning_rates
from bessemer.train.state import parameter_roles


def steps(optimizer, parameters, count=5):
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        optimizer.step()


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_muon_equals_torchs(shape):
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random) for _ in range(3)]
    ours = [nn.Parameter(value.clone()) for value in start]
    theirs = [nn.Parameter(value.clone()) for value in start]
    steps(Muon([{"params": ours}], lr=0.02, momentum=0.9, weight_decay=0.1), ours)
    steps(torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.1), theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-3)  # tolerance for bf16 and another order of products


def test_muon_treats_fused_maps_as_if_they_stood_alone():
    random = torch.Generator().manual_seed(0)
    parts = [torch.randn(rows, 16, generator=random) for rows in (24, 8, 8)]
    fused = nn.Parameter(torch.cat(parts))
    alone = [nn.Parameter(part.clone()) for part in parts]
    settings = {"lr": 0.1, "weight_decay": 0.1, "dtype": torch.float32}
    gradient = torch.randn(fused.shape, generator=random)
    fused.grad = gradient
    for parameter, part in zip(alone, gradient.split([24, 8, 8]), strict=True):
        parameter.grad = part
    Muon([{"params": [fused], "rows": (24, 8, 8)}], **settings).step()
    Muon([{"params": alone}], **settings).step()
    assert torch.allclose(fused, torch.cat([p.detach() for p in alone]), atol=1e-6)


def test_orthogonalised_matrices_have_singular_values_near_one():
    matrices = torch.randn(4, 32, 64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_every_parameter_has_one_optimizer_and_the_rate_of_its_role():
    module = nn.ModuleDict({"model": make_model(), "objective": nn.ModuleDict({"value": nn.Linear(32, 1)})})
    optimizers = build_optimizers(module, parameter_roles(module), PLAN, torch.float32)
    groups = [(type(o).__name__, group) for o in optimizers for group in o.param_groups]
    found = [parameter for _, group in groups for parameter in group["params"]]
    assert {id(p) for p in found} == {id(p) for p in module.parameters()}
    assert len(found) == len(list(module.parameters()))
    for kind, group in groups:
        if kind == "Muon":
            assert all(parameter.ndim == 2 for parameter in group["params"])
            assert group["weight_decay"] == PLAN.weight_decay
        else:
            assert group["weight_decay"] == 0
    set_learning_rates(optimizers, 0.5)
    assert {group["lr"] for _, group in groups} == {0.01, 0.005}


def test_adamw_alone_updates_matrices_as_torch_does():
    matrix = nn.Parameter(torch.ones(4, 4))
    other = nn.Parameter(torch.ones(4, 4))
    module = nn.Module()
    module.matrix = matrix
    plan = PLAN.__class__(**{**vars(PLAN), "optimizer": "adamw"})
    (optimizer,) = build_optimizers(module, {"matrix": ParameterRole("matrix", (4,))}, plan, torch.float32)
    steps(optimizer, [matrix])
    reference = torch.optim.AdamW(
        [other], lr=0.02, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.01, foreach=False, fused=False
    )
    steps(reference, [other])
    assert torch.allclose(matrix, other, atol=1e-6)


@pytest.mark.parametrize("wrong", ["gradient", "state"])
def test_adamw_refuses_a_tensor_that_is_laid_out_otherwise_than_its_parameter(wrong):
    """With another layout, the fused CPU kernel would pair each number with the gradient of a different number."""
    parameter = nn.Parameter(torch.ones(4, 3))
    optimizer = AdamW([parameter], fused=True)
    steps(optimizer, [parameter], 1)
    turned = torch.ones(3, 4).T
    if wrong == "gradient":
        parameter.grad = turned
    else:
        optimizer.state[parameter]["exp_avg"] = turned
    with pytest.raises(AssertionError, match="laid out like the parameter"):
        optimizer.step()


def test_adamw_takes_any_strides_of_dimensions_of_size_one():
    parameter = nn.Parameter(torch.ones(1, 4))
    parameter.grad = torch.ones(4, 1).T
    assert parameter.grad.stride() != parameter.stride()
    AdamW([parameter], lr=0.1, fused=True, weight_decay=0.0).step()
    assert torch.allclose(parameter, torch.full((1, 4), 0.9))


@pytest.mark.parametrize("layout", ["gradient", "parameter"])
def test_muon_reads_tensors_by_their_strides(layout):
    start = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    plain = nn.Parameter(start.clone())
    other = nn.Parameter(start.T.contiguous().T if layout == "parameter" else start.clone())
    ours = Muon([{"params": [other], "rows": (4, 2)}], dtype=torch.float32)
    theirs = Muon([{"params": [plain], "rows": (4, 2)}], dtype=torch.float32)
    for seed in range(3):
        gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
        plain.grad = gradient
        other.grad = gradient.T.contiguous().T if layout == "gradient" else gradient
        ours.step()
        theirs.step()
    assert torch.allclose(other, plain, atol=1e-6)


@pytest.fixture
def mesh(tmp_path) -> Iterator[DeviceMesh]:
    """A mesh of one process. `test_workers` covers two processes."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize(("shape", "rows"), [((12, 16), (4, 8)), ((16, 12), ()), ((24, 8), (8, 16))])
def test_muon_updates_sharded_matrices_as_whole_ones(mesh, shape, rows):
    """Weight decay and momentum are large, so that an error in either is visible."""
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random) for _ in range(2)]
    wholes = [nn.Parameter(value.clone()) for value in start]
    pieces = [nn.Parameter(distribute_tensor(value.clone(), mesh, [Shard(0)])) for value in start]
    settings = {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.8, "dtype": torch.float32}
    ours = Muon([{"params": pieces, "rows": rows}], **settings)
    theirs = Muon([{"params": wholes, "rows": rows}], **settings)
    for _ in range(4):
        for piece, plain in zip(pieces, wholes, strict=True):
            plain.grad = torch.randn(shape, generator=random)
            piece.grad = distribute_tensor(plain.grad, mesh, [Shard(0)])
        ours.step()
        theirs.step()
    for piece, plain in zip(pieces, wholes, strict=True):
        assert torch.allclose(piece.full_tensor(), plain, atol=1e-5)


def test_muon_decays_weights_by_their_rate():
    """With a gradient of zero, only the decay changes the weights: by a factor of (1 - 0.1 * 0.5) per step."""
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([{"params": [weight]}], lr=0.1, weight_decay=0.5)
    for _ in range(2):
        weight.grad = torch.zeros(4, 4)
        optimizer.step()
    assert torch.allclose(weight, torch.full((4, 4), 0.95**2))
