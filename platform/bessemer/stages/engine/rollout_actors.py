"""Generates rollouts on Ray actors, in processes separate from the training workers.

The weights go through Ray's object store in memory: one copy per node for any number of actors. Ray would spill them to
disk if the store were too small, so `check_room` rejects a store that is too small. An actor that dies is restarted and
generates its answers again. Every call carries the weights, and an answer depends only on its seed, so the result is
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bessemer.errors import BessemerError, UsageError
from bessemer.formatting import format_bytes
from bessemer.model.config import LoraSettings, ModelConfig
from bessemer.stages.engine.training_workers import WorkerCount, cpu_share

if TYPE_CHECKING:
    from torch import Tensor

    from bessemer.align.rollouts import Prompt, Rollout
    from bessemer.generate.settings import GenerationSettings

CPUS = 0.1
"""CPUs that an actor reserves on a cluster without GPUs. It is small because the actor runs while its training worker
waits."""
DEATHS_FORGIVEN = 3
"""Number of actor deaths that are tolerated in one batch of answers."""
STORED_BYTES = 2 * 4
"""Bytes per parameter in Ray's object store, for each training worker: the store briefly holds the old and the new
fp32 weights."""


class RolloutActors:
    """Implements `align.policy_objective.Rollouts` on `count` actors. Ray must be running.

    `peers` is the number of training workers, which have `count` actors each.
    """

    def __init__(
        self,
        count: int,
        model: ModelConfig,
        lora: LoraSettings | None,
        dtype: str,
        stop_ids: Sequence[int],
        *,
        peers: int = 1,
    ) -> None:
        import ray

        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        threads = max(1, int(resources.get("CPU", 1)) // (count * peers))
        options = {"num_gpus": 1} if gpus else {"num_cpus": CPUS}
        remote: Any = ray.remote(**options)(_Actor)
        self._make: Callable[[], Any] = lambda: remote.remote(model, lora, dtype, tuple(stop_ids), threads)
        self._actors = [self._make() for _ in range(count)]
        self._weights: Any = None
        self._version = 0

    def update(self, weights: Mapping[str, Tensor]) -> None:
        import ray

        self._weights = ray.put({name: tensor.detach().cpu().numpy() for name, tensor in weights.items()})
        self._version += 1

    def sample(
        self, prompts: Sequence[Prompt], *, num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]:
        """Like `RolloutSampler.sample`. Raises BessemerError if actors die more than `DEATHS_FORGIVEN` times."""
        import ray
        from ray.exceptions import RayActorError

        count = len(self._actors)
        shares = [list(prompts[number::count]) for number in range(count)]
        found: dict[int, list[Rollout]] = {}
        for deaths in range(DEATHS_FORGIVEN + 1):
            waiting = {
                number: self._actors[number].sample.remote(
                    self._weights, self._version, shares[number], num_generations, settings, seed
                )
                for number in range(count)
                if number not in found and shares[number]
            }
            for number, answer in waiting.items():
                try:
                    found[number] = ray.get(answer)
                except RayActorError as error:
                    if deaths == DEATHS_FORGIVEN:
                        raise BessemerError(
                            f"a process that generates answers died {DEATHS_FORGIVEN + 1} times: {error}",
                            hint="if memory ran out, lower `max_completion_length` or `rollout_workers`",
                        ) from error
                    self._actors[number] = self._make()
            if all(number in found or not shares[number] for number in range(count)):
                break
        groups = [
            found[place % count][place // count * num_generations : (place // count + 1) * num_generations]
            for place in range(len(prompts))
        ]
        return [rollout for group in groups for rollout in group]


class _Actor:
    def __init__(
        self, config: ModelConfig, lora: LoraSettings | None, dtype: str, stop_ids: tuple[int, ...], threads: int
    ) -> None:
        import torch

        from bessemer.align.rollouts import RolloutSampler
        from bessemer.model.hardware import choose_device
        from bessemer.model.lora import add_adapters
        from bessemer.model.transformer import Transformer

        torch.set_num_threads(threads)
        model = Transformer(config, compute_dtype=getattr(torch, dtype)).requires_grad_(False)
        if lora is not None:
            add_adapters(model, lora, seed=0)
        self._sampler = RolloutSampler(model.to(choose_device()), stop_ids=stop_ids)
        self._version = 0

    def sample(
        self,
        weights: Mapping[str, Any],
        version: int,
        prompts: Sequence[Prompt],
        num_generations: int,
        settings: GenerationSettings,
        seed: int,
    ) -> list[Rollout]:
        """Returns answers of the model with `weights`. Loads the weights only if `version` has changed."""
        import torch

        if version != self._version:
            self._sampler.update({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
            self._version = version
        return self._sampler.sample(prompts, num_generations=num_generations, settings=settings, seed=seed)


def check_room(
    rollout_workers: int, training_workers: WorkerCount, model: ModelConfig, resources: Mapping[str, float]
) -> None:
    """Raises UsageError if the cluster is too small for `rollout_workers` actors per training worker.

    Also raises UsageError if Ray's object store is too small for the weights that the training workers send them.
    """
    most = max(1, training_workers if isinstance(training_workers, int) else training_workers[1])
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    training, each = (1.0, 1.0) if gpus else (cpu_share(cpus, training_workers), CPUS)
    if most * (training + rollout_workers * each) > (gpus or cpus):
        raise UsageError(
            f"{most} training workers with {rollout_workers} rollout workers each do not fit on "
            + (f"{gpus} GPUs" if gpus else f"{cpus} CPUs"),
            hint="lower `num_workers` or `rollout_workers`; with `rollout_workers` 0 each training worker generates "
            "its answers itself",
        )
    needed, found = most * STORED_BYTES * model.num_parameters(), int(resources["object_store_memory"])
    if needed > found:
        raise UsageError(
            f"the weights for rollout workers need {format_bytes(needed)} of Ray's object store, which has "
            f"{format_bytes(found)}: Ray would write them to disk at every step",
            hint=f"set `cluster.object_store_bytes` to {needed} or more (for your own cluster, "
            "`--object-store-memory` of `ray start`), or set `rollout_workers` to 0",
        )
