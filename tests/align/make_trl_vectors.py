"""Makes `trl_vectors.json`: TRL's losses and their gradients for random log-probabilities.

    python -m venv trl && trl/bin/pip install torch==2.13.0 trl==1.16.0
    trl/bin/pip download --no-deps trl==0.11.4 && unzip trl-0.11.4-*.whl -d old
    trl/bin/python tests/align/make_trl_vectors.py old

TRL's losses are methods of its trainers. This script runs TRL's code on fake trainers, which have only the settings
that the methods read, and on fake models, which return the given log-probabilities. TRL removed PPO and label smoothing
for DPO before version 1.0, so these functions are extracted from the source of 0.11.4. Each case has the name of our
function, its arguments, TRL's value and the gradients of that value.
"""

from __future__ import annotations

import ast
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import trl
from torch.nn import functional as F
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.grpo_trainer import __file__ as GRPO_FILE
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.utils import nanstd

PAIRS, TOKENS = 4, 6
GENERATOR = torch.Generator().manual_seed(0)
CASES: list[dict[str, Any]] = []


class Accelerator:
    device, num_processes, sync_gradients = torch.device("cpu"), 1, False
    gather = gather_for_metrics = staticmethod(lambda x: x)
    reduce = staticmethod(lambda x, reduction: x)


def trainer(**settings: Any) -> Any:
    common = {"accelerator": Accelerator(), "aux_loss_enabled": False, "_total_train_tokens": 0, "_tp_size": 1}
    return SimpleNamespace(
        model=SimpleNamespace(training=True), _metrics={"train": defaultdict(list)}, **common, **settings
    )


def normal(*shape: int, scale: float = 1.0, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR) * scale + offset


def lengths(count: int) -> torch.Tensor:
    return torch.randint(1, TOKENS + 1, (count,), generator=GENERATOR)


def leaf(x: torch.Tensor) -> torch.Tensor:
    return x.detach().clone().requires_grad_()


def case(
    function: str, settings: dict[str, Any], inputs: dict[str, Any], value: torch.Tensor, leaves: tuple[str, ...] = ()
) -> None:
    gradients: dict[str, Any] = {}
    if leaves:
        found = torch.autograd.grad(value, [inputs[name] for name in leaves], retain_graph=True)
        gradients = {name: gradient.tolist() for name, gradient in zip(leaves, found, strict=True)}
    plain = {name: x.tolist() if isinstance(x, torch.Tensor) else x for name, x in inputs.items()}
    CASES.append(
        {"function": function, "settings": settings, "inputs": plain, "value": value.tolist(), "gradients": gradients}
    )


def answers(sums: torch.Tensor, counts: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """The output of a fake model for answers with these log-probabilities, spread evenly over `counts` tokens."""
    mask = torch.arange(TOKENS) < counts[:, None]
    spread = (sums / counts)[:, None] * mask
    zero = torch.zeros_like(spread)
    return SimpleNamespace(log_probs=spread, entropy=zero, mean_logits=zero, is_top1=zero.bool()), F.pad(
        mask, (1, 0)
    ).long()


def pairs() -> None:
    inputs = {name: normal(PAIRS, scale=4, offset=-15) for name in ("reference_chosen", "reference_rejected")}
    inputs |= {name: leaf(normal(PAIRS, scale=4, offset=-15)) for name in ("chosen", "rejected")}
    counts = {"chosen_lengths": lengths(PAIRS), "rejected_lengths": lengths(PAIRS)}
    model, mask = answers(torch.cat([inputs["chosen"], inputs["rejected"]]), torch.cat(list(counts.values())))
    for kind, function in (("sigmoid", "dpo"), ("ipo", "ipo")):
        for beta in (0.1, 0.5):
            run = trainer(
                ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=[kind],
                loss_weights=[1.0], beta=beta, label_smoothing=0.0, use_weighting=False,
            )  # fmt: skip
            batch = {"completion_mask": mask, "input_ids": mask, "attention_mask": mask}
            batch |= {
                "ref_chosen_logps": inputs["reference_chosen"],
                "ref_rejected_logps": inputs["reference_rejected"],
            }
            value = DPOTrainer._compute_loss(run, lambda **_: model, batch, False)
            more = counts if function == "ipo" else {}
            case(function, {"beta": beta}, inputs | more, value, ("chosen", "rejected"))

    means = {"chosen": leaf(-normal(PAIRS).abs() * 6), "rejected": leaf(-normal(PAIRS).abs() * 6)}
    run = trainer(beta=0.3)
    averages = [means[side] / counts[f"{side}_lengths"] for side in ("chosen", "rejected")]
    run.odds_ratio_loss = lambda *x: ORPOTrainer.odds_ratio_loss(run, *x)
    run.concatenated_forward = lambda *_: (*averages, torch.zeros(1), torch.zeros(1), -averages[0].mean())
    value, _ = ORPOTrainer.get_batch_loss_metrics(run, None, {}, "train")
    case("orpo", {"beta": 0.3}, means | counts, value, ("chosen", "rejected"))


def smoothed(old: Path) -> None:
    dpo_loss = source(old / "trainer/dpo_trainer.py", "dpo_loss", {"F": F, "FDivergenceType": trl_divergences()})
    inputs = {name: normal(PAIRS, scale=4, offset=-15) for name in ("reference_chosen", "reference_rejected")}
    inputs |= {name: leaf(normal(PAIRS, scale=4, offset=-15)) for name in ("chosen", "rejected")}
    run = trainer(
        reference_free=False, f_divergence_type="reverse_kl", loss_type="sigmoid", beta=0.2, label_smoothing=0.1
    )
    order = ("chosen", "rejected", "reference_chosen", "reference_rejected")
    value = dpo_loss(run, *(inputs[name] for name in order))[0].mean()
    case("dpo", {"beta": 0.2, "label_smoothing": 0.1}, inputs, value, ("chosen", "rejected"))


def trl_divergences() -> Any:
    return SimpleNamespace(ALPHA_DIVERGENCE=SimpleNamespace(value=1), JS_DIVERGENCE=SimpleNamespace(value=2))


def kto() -> None:
    for offset in (3.0, -3.0):  # policies on both sides of the reference: KTO's KL is positive, then clipped at 0
        inputs = {"policy": leaf(normal(5, scale=4, offset=-15)), "reference": normal(5, scale=4, offset=-15)}
        desirable = torch.tensor([True, False, False, True, False])
        others = {"policy": normal(5, scale=2, offset=-15 + offset), "reference": normal(5, scale=2, offset=-15)}
        model, mask = answers(inputs["policy"], torch.full((5,), TOKENS))
        batch = {
            "label": desirable, "completion_mask": mask, "input_ids": mask, "attention_mask": mask,
            "ref_logps": inputs["reference"], "ref_KL_logps": others["reference"],
        }  # fmt: skip
        settings = {"beta": 0.2, "desirable_weight": 1.5, "undesirable_weight": 0.7}
        run = trainer(calculate_KL=True, precompute_ref_logps=True, loss_type="kto", **settings)
        run._compute_kl_logps = lambda *_, others=others: others["policy"]
        value = KTOTrainer._compute_loss(run, lambda model=model, **_: model, batch, False)
        kl = torch.tensor(run._metrics["train"]["kl"][0])
        case("kto_kl", {}, others, kl)
        case("kto", settings, inputs | {"desirable": desirable, "kl": kl}, value, ("policy",))


def reward_model() -> None:
    for coefficient, margin in ((0.01, None), (0.1, normal(PAIRS).abs())):
        inputs = {"chosen": leaf(normal(PAIRS, scale=2)), "rejected": leaf(normal(PAIRS, scale=2))}
        logits = torch.cat([inputs["chosen"], inputs["rejected"]])[:, None]
        run = trainer(args=SimpleNamespace(center_rewards_coefficient=coefficient))
        batch = {"attention_mask": torch.ones(2, 2)} | ({} if margin is None else {"margin": margin})
        value = RewardTrainer.compute_loss(run, lambda logits=logits, **_: SimpleNamespace(logits=logits), batch)
        more = {} if margin is None else {"margin": margin}
        case("bradley_terry", {"center_rewards_coefficient": coefficient}, inputs | more, value, ("chosen", "rejected"))


def completions() -> dict[str, torch.Tensor]:
    old = normal(PAIRS, TOKENS).abs().neg()
    mask = torch.arange(TOKENS) < lengths(PAIRS)[:, None]
    return {
        "logprobs": leaf(old + normal(PAIRS, TOKENS, scale=0.6)),
        "old_logprobs": old,
        "mask": mask,
        "advantages": normal(PAIRS),
    }


def groups() -> None:
    for settings in (
        {"loss_type": "dapo"},
        {"loss_type": "dapo", "delta": 1.5, "epsilon_high": 0.2},
        {"loss_type": "grpo", "beta": 0.3},
        {"loss_type": "dr_grpo", "max_completion_length": 9, "epsilon": 0.1},
    ):
        inputs = completions()
        reference = {"reference_logprobs": normal(PAIRS, TOKENS).abs().neg()} if "beta" in settings else {}
        run = trainer(
            top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level="token",
            beta=settings.get("beta", 0.0), loss_type=settings["loss_type"], epsilon_low=settings.get("epsilon", 0.2),
            epsilon_high=settings.get("epsilon_high", 0.28), current_gradient_accumulation_steps=1, use_vllm=False,
            max_completion_length=settings.get("max_completion_length"), _entropy_bonus_enabled=False,
            args=SimpleNamespace(delta=settings.get("delta"), use_bias_correction_kl=False, steps_per_generation=1),
        )  # fmt: skip
        run._get_per_token_logps_and_entropies = lambda *_, x=inputs, **__: (x["logprobs"], x["mask"].float(), None)
        mask = inputs["mask"].long()
        batch = {
            "prompt_ids": mask[:, :1], "prompt_mask": mask[:, :1], "completion_ids": mask, "completion_mask": mask,
            "advantages": inputs["advantages"], "old_per_token_logps": inputs["old_logprobs"],
            "num_items_in_batch": mask.sum(),
        }  # fmt: skip
        batch["ref_per_token_logps"] = reference.get("reference_logprobs")
        value = GRPOTrainer._compute_loss(run, None, batch)
        case("policy_loss", settings, inputs | reference, value, ("logprobs",))

    rewards = normal(12, scale=2)
    rewards[5] = math.nan
    for scale in ("none", "group", "batch"):
        case(
            "group_advantages",
            {"num_generations": 4, "scale_rewards": scale},
            {"rewards": rewards},
            grouped(rewards, scale),
        )


def grouped(rewards: torch.Tensor, scale: str) -> torch.Tensor:
    """Runs TRL's statements that turn rewards into advantages. They are in the middle of a long method."""
    method = next(
        node
        for node in ast.walk(ast.parse(Path(GRPO_FILE).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "_generate_and_score_completions"
    )
    first = next(
        number
        for number, node in enumerate(method.body)
        if isinstance(node, ast.If) and "multi_objective_aggregation" in ast.unparse(node.test)
    )
    names = {
        "self": SimpleNamespace(
            multi_objective_aggregation="sum_then_normalize", scale_rewards=scale, reward_weights=torch.ones(1)
        ),
        "rewards_per_func": rewards[:, None],
        "unscorable_mask": rewards.isnan(),
        "num_generations": 4,
        "device": "cpu",
        "torch": torch,
        "nanstd": nanstd,
    }
    exec(compile(ast.Module(method.body[first : first + 2], []), "trl", "exec"), names)
    return names["advantages"]


def proximal(old: Path) -> None:
    core = {"torch": torch, "Mapping": dict}
    for name in ("masked_mean", "masked_var", "masked_whiten", "clip_by_value", "entropy_from_logits", "flatten_dict"):
        core[name] = source(old / "core.py", name, core)
    file = old / "trainer/ppo_trainer.py"
    method = {
        name: source(file, name, core) for name in ("loss", "compute_advantages", "compute_rewards", "_kl_penalty")
    }
    config = SimpleNamespace(
        gamma=0.9, lam=0.8, whiten_rewards=False, cliprange=0.2, cliprange_value=0.3, vf_coef=1.0, kl_penalty="kl",
        ratio_threshold=100.0,
    )  # fmt: skip
    run = SimpleNamespace(config=config, kl_ctl=SimpleNamespace(value=0.1))
    run._kl_penalty = lambda *x: method["_kl_penalty"](run, *x)

    inputs = completions()
    mask = inputs["mask"].float()
    values, new_values = normal(PAIRS, TOKENS), leaf(normal(PAIRS, TOKENS))
    scores, reference = normal(PAIRS), normal(PAIRS, TOKENS).abs().neg()
    rewards, *_ = method["compute_rewards"](run, scores, inputs["old_logprobs"], reference, mask)
    case(
        "token_rewards",
        {"kl_coef": 0.1},
        {"scores": scores, "logprobs": inputs["old_logprobs"], "reference_logprobs": reference, "mask": inputs["mask"]},
        rewards * mask,
    )
    values, white, returns = method["compute_advantages"](run, values, rewards, mask)
    settings = {"gamma": 0.9, "lam": 0.8}
    given = {"rewards": rewards, "values": values, "mask": inputs["mask"]}
    case("generalised_advantages", settings, given, torch.stack((returns - values, returns)))
    case("whitened", {}, {"advantages": returns - values, "mask": inputs["mask"]}, white)
    logits = normal(PAIRS, TOKENS, 3)
    policy, value, _ = method["loss"](
        run, inputs["old_logprobs"], values, logits, new_values, inputs["logprobs"], mask, white, returns
    )
    case(
        "policy_loss",
        {"epsilon": 0.2, "epsilon_high": 0.2},
        inputs | {"advantages": white},
        policy,
        ("logprobs",),
    )
    given = {"values": new_values, "old_values": values, "returns": returns, "mask": inputs["mask"]}
    case("value_loss", {"cliprange_value": 0.3}, given, value, ("values",))


def source(file: Path, name: str, names: dict[str, Any]) -> Any:
    """Extracts a function or method from a source file without importing the file."""
    node = next(n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef) and n.name == name)
    node.decorator_list, node.returns = [], None
    for argument in node.args.args:
        argument.annotation = None
    node.body = [n for n in node.body if not isinstance(n, ast.FunctionDef)] if name != "flatten_dict" else node.body
    space = {"torch": torch, "Dict": dict, **names}
    exec(compile(ast.Module([node], []), str(file), "exec"), space)
    return space[name]


def main() -> None:
    old = Path(sys.argv[1]) / "trl"
    pairs()
    smoothed(old)
    kto()
    reward_model()
    groups()
    proximal(old)
    vectors = {"versions": {"trl": trl.__version__, "old trl": "0.11.4", "torch": torch.__version__}, "cases": CASES}
    Path(__file__).with_name("trl_vectors.json").write_text(json.dumps(vectors) + "\n")
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
