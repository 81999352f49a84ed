"""reinforce: GRPO and PPO make answers with higher rewards likelier; impossible settings are errors at the start."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.support.small_chat import recorded, tokenizer_of

from bessemer.align.rollouts import Prompt, RolloutSampler
from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, NothingLeft, Stopped, UsageError
from bessemer.generate.settings import GenerationSettings
from bessemer.model.config import ModelShape
from bessemer.model.hub import load_model
from bessemer.stages import conversations, finetune, preferences, reinforce, reward
from bessemer.stages.engine.rollout_actors import RolloutActors, check_room
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.tokenizer import TokenizerFolder

COLOURS = ["red", "blue"]
THINGS = ["car", "boat", "tree", "bird", "stone", "house", "field", "wood"]
ROWS = [
    {"prompt": f"Which colour has the {thing}?", "completion": f"It is {colour}.", "liked": "It is red."}
    for thing in THINGS
    for colour in COLOURS
    for _ in range(2)
]
TUNING = {
    "max_seq_length": 64, "global_batch_size": 4, "max_steps": 60, "learning_rate": 0.01,
    "embedding_learning_rate": 0.01, "num_threads": 1, "dtype": "float32",
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "max_seq_length": 64,
    "global_batch_size": 4,
    "max_steps": 24,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "embedding_learning_rate": 2e-3,
    "log_interval": 1,
    "num_threads": 1,
    "dtype": "float32",
    "rewards": [{"kind": "exact_match", "column": "liked"}],
}
MODEL = ModelShape(hidden_size=64, num_hidden_layers=2).resolve(vocab_size=300, max_seq_length=64)
GRPO = {"num_generations": 4, "max_completion_length": 8}
PPO = {"num_generations": 4, "max_completion_length": 8}


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerFolder:
    return tokenizer_of([*(f"{row['prompt']} {row['completion']}" for row in ROWS), "user assistant"], 350)


@pytest.fixture
def inputs(
    make_model: Callable[..., Any],
    read_rows: Callable[..., Any],
    run_stage: Callable[..., Any],
    tokenizer: TokenizerFolder,
) -> dict[str, Artifact]:
    """A model that was tuned to answer with one of two colours."""
    found = make_model(tokenizer)
    found["conversations"] = read_rows(conversations, found, ROWS, split={"validation": 0.3})[1]
    return found | {"model": run_stage(finetune, found, "tuned", **TUNING)[1]()}


@pytest.fixture
def learn(inputs: dict[str, Artifact], run_stage: Callable[..., Any]) -> Callable[..., Any]:
    """`learn("name", grpo={...})` runs the stage."""

    def run(name: str, *, also: Any = None, **changes: Any) -> Any:
        return run_stage(reinforce, inputs | (also or {}), name, **SETTINGS | changes)[0]

    return run


def share_of_red(folder: Path) -> float:
    model, tokenizer = load_model(folder), TokenizerFolder.open(folder)
    template = ChatTemplate.of(tokenizer)
    prompts = [
        Prompt(
            number,
            tuple(template.prompt([{"role": "user", "content": f"Which colour has the {thing}?"}]).tolist()),
            (number,),
        )
        for number, thing in enumerate(THINGS)
    ]
    found = RolloutSampler(model, stop_ids=template.stop_ids).sample(
        prompts, num_generations=8, settings=GenerationSettings(max_new_tokens=8, temperature=1.0, top_p=1.0), seed=9
    )
    return sum(tokenizer.decode(r.tokens[:-1]) == "It is red." for r in found) / len(found)


@pytest.mark.parametrize(
    "method",
    [
        {"grpo": GRPO},
        {"grpo": GRPO | {"beta": 0.01, "scale_rewards": "group", "loss_type": "grpo", "num_iterations": 2}},
        {
            "grpo": GRPO | {"loss_type": "dr_grpo", "mask_truncated_completions": True},
            "lora": {},
            "learning_rate": 0.005,
        },
        {"ppo": PPO},
        {"ppo": PPO | {"num_iterations": 2, "lam": 0.95}},
    ],
)
def test_what_is_rewarded_becomes_likelier(learn: Any, inputs: dict[str, Artifact], method: dict[str, Any]) -> None:
    before = share_of_red(inputs["model"].data)
    assert 0.2 < before < 0.8
    draft = learn("learned", **method)
    assert share_of_red(draft.data) > 0.9
    figures = recorded(draft)
    assert figures[-1]["train/reward"] > figures[0]["train/reward"]
    assert figures[-1]["validation/reward"] > 0.9
    assert figures[0]["train/kl"] == pytest.approx(0.0, abs=1e-3), "it begins where it began"
    assert all(line["train/logprob_gap"] < 1e-3 for line in figures[:: method.get("num_iterations", 1)][:1])
    assert {"train/truncated_ratio", "train/zero_spread_ratio", "train/completion_length",
            "train/length_reward_correlation"} <= figures[0].keys()  # fmt: skip


def test_trainer_and_rollouts_agree_on_every_answer(learn: Any) -> None:
    """With one update a batch the answers are the present model's, so the log-probabilities are the same numbers."""
    draft = learn("learned", grpo=GRPO | {"temperature": 0.7})
    gaps = [line["train/logprob_gap"] for line in recorded(draft) if "train/logprob_gap" in line]
    assert len(gaps) > 5, "steps whose answers are all worth the same have none"
    assert max(gaps) < 1e-4


@pytest.mark.parametrize("method", [{"grpo": GRPO | {"num_iterations": 2}}, {"ppo": PPO}])
def test_a_stopped_run_continues_to_the_same_model(learn: Any, make_context: Any, method: dict[str, Any]) -> None:
    whole = learn("whole", max_steps=6, **method)
    context = make_context()
    context.progress = lambda step, *_, **__: context.stopping.set() if step == 3 else None
    with pytest.raises(Stopped):
        learn("halves", max_steps=6, context=context, **method)
    halves = learn("halves", max_steps=6, attempt=2, **method)
    assert (whole.data / "model.safetensors").read_bytes() == (halves.data / "model.safetensors").read_bytes()
    assert [line["train/loss"] for line in recorded(whole)] == [line["train/loss"] for line in recorded(halves)]


def test_actors_write_the_answers_that_the_trainer_would(learn: Any, make_context: Any, ray_session: Any) -> None:
    here = learn("here", max_steps=3, grpo=GRPO)
    there = learn(
        "there", max_steps=3, grpo=GRPO, rollout_workers=2, context=make_context(start_ray=lambda: ray_session)
    )
    one, other = recorded(here), recorded(there)
    for name in ("train/reward", "train/completion_length"):
        assert [line[name] for line in one] == pytest.approx([line[name] for line in other])
    assert [line["train/loss"] for line in one] == pytest.approx([line["train/loss"] for line in other], abs=1e-4)


def test_an_actor_that_dies_is_replaced_and_writes_the_same(inputs: dict[str, Artifact], ray_session: Any) -> None:
    model = load_model(inputs["model"].data)
    stop_ids = ChatTemplate.of(TokenizerFolder.open(inputs["model"].data)).stop_ids
    actors = RolloutActors(2, model.config, None, "float32", stop_ids)
    actors.update(dict(model.named_parameters()))
    prompts = [Prompt(number, (2, 40 + number, 41), (number,)) for number in range(5)]
    settings = GenerationSettings(max_new_tokens=6, temperature=1.0, top_p=1.0)
    before = actors.sample(prompts, num_generations=3, settings=settings, seed=1)
    assert [rollout.prompt.number for rollout in before] == [n for n in range(5) for _ in range(3)]
    ray_session.kill(actors._actors[0])
    assert actors.sample(prompts, num_generations=3, settings=settings, seed=1) == before


@pytest.mark.parametrize(
    ("rollouts", "training", "resources", "fits"),
    [
        (1, 1, {"CPU": 8, "GPU": 2}, True),
        (1, 2, {"CPU": 8, "GPU": 3}, False),  # each of two has one: four in all
        (1, 2, {"CPU": 8, "GPU": 4}, True),
        (1, (1, 2), {"CPU": 8, "GPU": 2}, False),  # the second worker would take the actor's
        (2, 2, {"CPU": 2}, True),
        (6, 2, {"CPU": 2}, False),
        (1, (1, 2), {"CPU": 2}, False),
        (4, 0, {"CPU": 2}, True),
    ],
)
def test_actors_that_would_wait_for_room_forever_are_refused(
    rollouts: int, training: Any, resources: dict[str, float], fits: bool
) -> None:
    resources["object_store_memory"] = 1 << 30
    with nullcontext() if fits else pytest.raises(UsageError, match="rollout workers each do not fit on"):
        check_room(rollouts, training, MODEL, resources)


def test_weights_that_ray_would_write_to_disk_are_refused() -> None:
    needed = 2 * 2 * 4 * MODEL.num_parameters()  # two training workers, each with old and new weights in 32 bits
    check_room(1, 2, MODEL, {"CPU": 4, "object_store_memory": needed})
    with pytest.raises(UsageError, match="to disk at every step") as caught:
        check_room(1, 2, MODEL, {"CPU": 4, "object_store_memory": needed - 1})
    assert f"`cluster.object_store_bytes` to {needed}" in caught.value.hint


def test_several_rewards_are_recorded_apart(learn: Any) -> None:
    rewards = [{"kind": "exact_match", "column": "liked"}, {"kind": "length", "target": 5, "weight": 0.1}]
    figures = recorded(learn("learned", max_steps=1, grpo=GRPO, rewards=rewards))[0]
    total = figures["train/reward_exact_match"] + 0.1 * figures["train/reward_length"]
    assert figures["train/reward"] == pytest.approx(total, abs=1e-5)


def test_a_reward_model_is_a_reward(learn: Any, inputs: dict[str, Artifact], read_rows: Any, run_stage: Any) -> None:
    pairs = [{"prompt": row["prompt"], "chosen": "It is red.", "rejected": "It is blue."} for row in ROWS]
    _, rows = read_rows(preferences, inputs, pairs)
    trained = {name: value for name, value in SETTINGS.items() if name != "rewards"} | {"max_steps": 20}
    _, seal = run_stage(reward, inputs | {"preferences": rows}, **trained)
    learned = learn("learned", ppo=PPO, rewards=[], also={"reward_model": seal()})
    assert share_of_red(learned.data) > 0.8


def test_what_cannot_be_is_said_before_training(
    learn: Any, inputs: dict[str, Artifact], read_rows: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="choose one method"):
        reinforce.Config.model_validate({"grpo": {}, "ppo": {}})
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        reinforce.Config.model_validate({"grpo": {"num_generations": 1}})
    with pytest.raises(UsageError, match="`reward_model_weight` is set, but `from` names no reward model"):
        learn("weight", grpo=GRPO, reward_model_weight=2.0)
    with pytest.raises(UsageError, match="the stage has no reward for answers"):
        learn("worthless", grpo=GRPO, rewards=[])
    with pytest.raises(UsageError, match=r"a prompt has \d+ tokens and an answer up to 60"):
        learn("long", grpo=GRPO | {"max_completion_length": 60})
    with pytest.raises(UsageError, match="reads the column `answer_key`"):
        learn("column", grpo=GRPO, rewards=[{"kind": "exact_match", "column": "answer_key"}])
    rows = [{"prompt": f"Which {n}?", "completion": "It is red.", **({"liked": "red"} if n else {})} for n in range(9)]
    with pytest.raises(UsageError, match="1 of 9 prompts have no column `liked` that the reward `exact_match` can"):
        learn("some", grpo=GRPO, also={"conversations": read_rows(conversations, inputs, rows)[1]})
    file = tmp_path / "rewards.py"
    file.write_text("def broken(completions, **columns):\n    raise RuntimeError('no such thing')\n")
    with pytest.raises(InputError, match="no such thing"):
        learn("raises", grpo=GRPO, rewards=[{"kind": "function", "file": str(file), "name": "broken"}])


def test_a_reward_that_fails_for_a_whole_batch_ends_the_training(learn: Any, tmp_path: Path) -> None:
    file = tmp_path / "rewards.py"
    file.write_text(
        "def fickle(completions, **columns):\n    return [None if len(completions) > 1 else 1.0] * len(completions)\n"
    )
    with pytest.raises(InputError, match="no answer of a batch has a reward"):
        learn("fickle", grpo=GRPO, rewards=[{"kind": "function", "file": str(file), "name": "fickle"}])


def test_without_prompts_it_says_so(learn: Any, inputs: dict[str, Artifact], make_artifact: Any) -> None:
    draft, seal = make_artifact("conversations", "empty")
    (draft.data / "nothing.txt").write_text("")
    with pytest.raises(NothingLeft, match="has no prompts"):
        learn("empty", grpo=GRPO, also={"conversations": seal()})
