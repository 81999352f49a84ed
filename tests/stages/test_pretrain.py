"""pretrain: tokens in, a model folder out; every size that cannot be is said before anything starts."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.support.object_store import KEYS, serve

from bessemer import storage
from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.errors import ArtifactDamaged, BessemerError, InputError, Stopped, UsageError
from bessemer.fingerprint import content_hash, origin_id
from bessemer.generate import GenerationSettings, fill_in, load
from bessemer.model.hub import copy_tokenizer, export_model, load_config, load_model
from bessemer.model.transformer import Transformer
from bessemer.stages import base_model, pretrain, tokenize, tokenizer
from bessemer.stages.pretrain import Config
from bessemer.train.loop import Trainer

MODEL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SETTINGS: dict[str, Any] = {
    "model": MODEL,
    "max_seq_length": 16,
    "global_batch_size": 8,
    "max_steps": 12,
    "log_interval": 1,
    "num_threads": 1,
    "dtype": "float32",
}


def document(number: int) -> dict[str, Any]:
    """Sentences about sums, so that there is something to learn."""
    text = " ".join(f"{number} and {other} are {number + other}." for other in range(number % 7, number % 7 + 12))
    return {
        "id": origin_id("test", str(number)),
        "text": text,
        "content_hash": content_hash(text),
        "url": f"file:{number}.txt",
        "source": "test",
        "split": "validation" if number % 10 == 0 else "train",
        "metadata": "{}",
    }


@pytest.fixture
def inputs(make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> dict[str, Artifact]:
    draft, seal = make_artifact("documents")
    rows = [document(number) for number in range(60)]
    write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), draft.data / "00000.parquet")
    found = {"documents": seal()}
    for stage, kind in ((tokenizer, "tokenizer"), (tokenize, "tokens")):
        draft, seal = make_artifact(kind)
        config = tokenizer.Config(vocab_size=512) if kind == "tokenizer" else tokenize.Config()
        stage.run(config, found, draft, make_context())
        found[kind] = seal()
    return found


@pytest.fixture
def train(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> Callable[..., Any]:
    """`train("name", max_steps=3)` runs the stage; answers the draft and its `seal`."""

    def run(name: str, *, context: Any = None, start: Artifact | None = None, attempt: int = 1, **changes: Any) -> Any:
        draft, seal = make_artifact("model", name)
        draft.attempt = attempt
        settings = {name: value for name, value in (SETTINGS | changes).items() if value is not None}
        offered = inputs | ({"model": start} if start else {})
        config = Config.model_validate(settings)
        pretrain.check(config, offered)
        pretrain.run(config, offered, draft, context or make_context())
        return draft, seal

    return run


def losses(draft: Any) -> dict[int, float]:
    files = sorted((draft.path / "metrics").glob("*.jsonl"))
    return {line["step"]: line["metrics"]["train/loss"] for file in files for line in storage.read_lines(file)}


def test_a_masked_model_fills_in_and_is_taken_for_no_other(train: Callable[..., Any]) -> None:
    transformers = pytest.importorskip("transformers")
    draft, _ = train("model", objective="masked", max_steps=150, max_seq_length=32)
    assert losses(draft)[150] < 0.7 * losses(draft)[1]
    assert 1 < draft.metrics["validation/pseudo_perplexity"] < 100
    filled = fill_in(draft.data, "12 and 13___25.", GenerationSettings())
    assert filled.startswith("12 and 13")
    assert filled.endswith("25.")
    assert len(filled) > len("12 and 1325.")
    assert filled == fill_in(draft.data, "12 and 13___25.", GenerationSettings())
    with pytest.raises(ValueError, match="bessemer_masked_lm"):
        transformers.AutoModelForCausalLM.from_pretrained(draft.data)
    with pytest.raises(UsageError, match="fill in masked tokens"):
        load(draft.data)
    with pytest.raises(UsageError, match="2 blanks"):
        fill_in(draft.data, "___ and ___", GenerationSettings())


def test_a_model_of_a_mixture_writes_on_and_fills_in(train: Callable[..., Any]) -> None:
    mixture = {"causal": 1, "fill_in_the_middle": 1}
    draft, seal = train("model", objective=mixture, max_steps=40, max_seq_length=48)
    assert draft.metrics.keys() >= {"validation/bits_per_byte", "validation/exact_infill"}
    assert draft.resolved["objective"]["shares"] == {"causal": 0.5, "fill_in_the_middle": 0.5}
    greedy = GenerationSettings(temperature=0, max_new_tokens=8)
    assert fill_in(draft.data, "12 and ___ are 25.", greedy).endswith(" are 25.")
    assert load(draft.data).generate(["12 and"], greedy)[0].tokens
    further, _ = train("further", start=seal(), model=None, objective={"masked": 1, "causal": 3}, max_steps=2)
    assert further.metrics.keys() >= {"validation/bits_per_byte", "validation/pseudo_perplexity"}


def test_a_model_folder_that_transformers_loads(train: Callable[..., Any], inputs: dict[str, Artifact]) -> None:
    transformers = pytest.importorskip("transformers")
    draft, _ = train("model", max_steps=60)
    assert losses(draft)[60] < 0.7 * losses(draft)[1]
    assert 0 < draft.metrics["validation/bits_per_byte"] < 3
    assert draft.metrics["train/tokens"] == 60 * 8 * 16
    assert draft.resolved["num_steps"] == 60
    assert draft.resolved["dtype"] == "float32"
    model = transformers.AutoModelForCausalLM.from_pretrained(draft.data)
    words = transformers.AutoTokenizer.from_pretrained(draft.data)
    text = document(30)["text"]
    ids = words(text, return_tensors="pt")["input_ids"][:, :17]
    theirs = model(ids, labels=ids).loss.item()
    assert theirs < math.log(draft.resolved["model"]["vocab_size"]) / 2
    assert model.num_parameters() == draft.resolved["num_parameters"]
    assert (draft.checkpoints / "step-60" / "manifest.json").exists()


def test_a_stopped_stage_continues_where_it_stood(
    train: Callable[..., Any], make_context: Callable[..., Any], make_artifact: Callable[..., Any]
) -> None:
    whole, _ = train("whole")
    context = make_context()
    context.progress = lambda done, total, unit, **facts: context.stopping.set() if done == 4 else None
    with pytest.raises(Stopped, match="after step 5 of 12"):
        train("stopped", context=context)
    again, _ = train("stopped", attempt=2)
    assert losses(again) == losses(whole)
    assert again.metrics == whole.metrics
    assert (again.data / "model.safetensors").read_bytes() == (whole.data / "model.safetensors").read_bytes()


def test_tokens_read_from_object_storage_train_the_same_model(
    train: Callable[..., Any], inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    bucket = tmp_path / "bucket"
    shutil.copytree(inputs["tokens"].data, bucket / "tokens")
    shutil.copytree(inputs["tokens"].data, bucket / "others")
    other = storage.read_json(bucket / "others" / "meta.json")
    storage.write_json(bucket / "others" / "meta.json", other | {"vocab_size": 7})
    here, _ = train("here")
    with serve(bucket) as server:
        there, _ = train("there", tokens_url=server.url())
        with pytest.raises(UsageError, match=r"others` holds other tokens"):
            train("refused", tokens_url=server.url("others"))
    with pytest.raises(ValueError, match="credentials belong in the environment"):
        Config.model_validate({"tokens_url": "s3://key:secret@bucket/tokens"})
    weights = [(draft.data / "model.safetensors").read_bytes() for draft in (here, there)]
    assert weights[0] == weights[1]


def test_settings_reach_the_model_the_objective_and_the_loop(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers: list[Trainer] = []
    run = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda trainer: (trainers.append(trainer), run(trainer))[1])
    train("usual", max_steps=1)
    changes = {"activation_checkpointing": True, "z_loss": 0.25, "gradient_clip": 0.5, "weight_decay": 0.125}
    train("changed", max_steps=1, micro_batch_size=3, spike_sigmas=4.0, **changes)
    usual, changed = trainers
    assert [trainer.model.activation_checkpointing for trainer in trainers] == [False, True]
    assert [trainer.objective.z_loss for trainer in trainers] == [0.0, 0.25]
    assert (usual.plan.gradient_clip, changed.plan.gradient_clip) == (1.0, 0.5)
    assert changed.spikes is not None
    assert (changed.execution.micro_batch_size, changed.execution.num_threads, changed.spikes.sigmas) == (3, 1, 4.0)
    decays = {group["weight_decay"] for optimizer in changed.optimizers for group in optimizer.param_groups}
    assert decays == {0.0, 0.125}


def test_blocks_are_compiled_where_asked(train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Transformer, "compile_blocks", lambda model: asked.append(len(model.blocks())))
    monkeypatch.setattr("bessemer.model.hardware._has_cxx", lambda: True)
    draft, _ = train("compiled", compile=True, max_steps=1)
    assert (asked, draft.resolved["compile"]) == ([2], True)
    assert train("plain", max_steps=1)[0].resolved["compile"] is False
    monkeypatch.setattr("bessemer.model.hardware._has_cxx", lambda: False)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler"):
        train("refused", compile=True)
    assert asked == [2]


def test_training_goes_on_from_another_model(train: Callable[..., Any]) -> None:
    first, seal = train("first", max_steps=60)
    artifact = seal()
    with pytest.raises(UsageError, match="`model` describes a new model"):
        train("refused", start=artifact)
    with pytest.raises(UsageError, match="a context of 16 tokens, and `max_seq_length` is 17"):
        train("refused", start=artifact, model=None, max_seq_length=17)
    second, _ = train("second", start=artifact, model=None, max_steps=2)
    assert losses(second)[1] < 0.75 * losses(first)[1]
    assert second.resolved["model"] == first.resolved["model"]
    for name in ("learning_rate", "embedding_learning_rate", "vector_learning_rate"):
        assert second.resolved[name] == pytest.approx(pretrain.RATES.share * first.resolved[name])
    assert second.resolved["pretraining_rates"] == first.resolved["pretraining_rates"]


def test_a_model_is_trained_further_by_adapters(train: Callable[..., Any]) -> None:
    """Only what they adapt moves, and the export is a whole model."""
    with pytest.raises(UsageError, match="`lora` adapts an existing model"):
        train("refused", lora={})
    first, seal = train("first", max_steps=60)
    adapted, _ = train("adapted", start=seal(), model=None, lora={"r": 4}, max_steps=3)
    assert (adapted.resolved["optimizer"], adapted.resolved["learning_rate"]) == ("adamw", pretrain.RATES.lora)
    assert losses(adapted)[3] < 0.75 * losses(first)[1]
    before, after = (load_file(draft.data / "model.safetensors") for draft in (first, adapted))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if re.search(r"_proj\.weight$", name)}


def test_a_model_trained_further_can_be_given_a_longer_context(train: Callable[..., Any]) -> None:
    _, seal = train("first", max_steps=2)
    start = seal()
    stretched, _ = train("longer", start=start, model={"rope_theta": 5e4}, max_seq_length=40, max_steps=2)
    config = load_model(stretched.data).config
    assert (config.rope_theta, config.max_position_embeddings) == (5e4, 40)
    with pytest.raises(UsageError, match="`model` describes a new model"):
        train("refused", start=start, model={"rope_theta": 5e4, "qk_norm": False})


def test_an_open_checkpoint_in_shards_is_trained_further(
    train: Callable[..., Any], inputs: dict[str, Artifact], make_artifact: Any, make_context: Any, tmp_path: Path
) -> None:
    """Its table is padded beyond the tokenizer's vocabulary, as Qwen's is."""
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    stock = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=520, **shape))
    folder = tmp_path / "open"
    stock.save_pretrained(folder, max_shard_size="40KB")
    copy_tokenizer(inputs["tokenizer"].data, folder)
    config = base_model.Config.model_validate({"path": str(folder)})
    assert len(base_model.outside(config)) >= 5
    draft, seal = make_artifact("model", "open")
    base_model.run(config, {}, draft, make_context())
    trained, _ = train("trained", start=seal(), model=None, max_steps=3)
    assert load_config(trained.data).qk_norm is False
    weights = transformers.AutoModelForCausalLM.from_pretrained(trained.data).state_dict()
    moved = {name for name, tensor in stock.state_dict().items() if not torch.equal(weights[name], tensor)}
    assert "model.layers.0.self_attn.q_proj.weight" in moved
    assert all((weights[name] - tensor).abs().max() < 1e-3 for name, tensor in stock.state_dict().items())
    assert trained.resolved["optimizer"] == "adamw"  # the optimizer of its pre-training is unknown


def test_an_open_checkpoint_that_is_not_whole_is_refused_before_anything_runs(
    inputs: dict[str, Artifact], tmp_path: Path, make_artifact: Any, make_context: Any
) -> None:
    config = base_model.Config.model_validate({"path": str(tmp_path)})
    with pytest.raises(InputError, match=r"it lacks `config\.json`"):
        base_model.outside(config)
    model = Transformer(pretrain.ModelShape(**MODEL).resolve(vocab_size=512, max_seq_length=16))
    export_model(model, tmp_path, tokenizer=inputs["tokenizer"].data)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"`model.norm.weight` is missing"):
        base_model.run(config, {}, make_artifact("model", "open")[0], make_context())
    scoring = Transformer(model.config.model_copy(update={"is_reward": True}))
    export_model(scoring, tmp_path, tokenizer=inputs["tokenizer"].data)
    with pytest.raises(InputError, match="is a reward model and cannot generate text"):
        base_model.run(config, {}, make_artifact("model", "open")[0], make_context())
    for text, message in (("{", "is not JSON"), ("[]", "holds no JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=message):
            base_model.run(config, {}, make_artifact("model", "open")[0], make_context())


def test_a_model_of_another_tokenizer_is_not_trained_further(
    train: Callable[..., Any], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    draft, seal = train("first", max_steps=1)
    path = draft.data / "tokenizer.json"
    path.write_text(path.read_text().replace('"Ġand":', '"Ġzand":'))
    with pytest.raises(UsageError, match="made with another tokenizer"):
        train("refused", start=seal(), model=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_seq_length": 10**6}, "`max_seq_length` is 1000000, but the corpus has only"),
        ({"model": MODEL | {"head_dim": 15}}, "`head_dim` must be even"),
    ],
)
def test_sizes_that_cannot_be(train: Callable[..., Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises((BessemerError, ValueError), match=re.escape(message)):
        train("bad", **changes)


def test_a_tokenizer_of_another_vocabulary(
    train: Callable[..., Any], inputs: dict[str, Artifact], make_artifact: Any, make_context: Any
) -> None:
    draft, seal = make_artifact("documents", "other")
    write_parquet(pa.Table.from_pylist([document(1)], schema=SCHEMA), draft.data / "00000.parquet")
    documents = {"documents": seal()}
    draft, seal = make_artifact("tokenizer", "other")
    tokenizer.run(tokenizer.Config(vocab_size=512), documents, draft, make_context())
    inputs["tokenizer"] = seal()
    with pytest.raises(UsageError, match=r"made with a vocabulary of \d+, the tokenizer has"):
        train("bad")


def test_a_token_shard_cut_short_is_found_before_training(
    train: Callable[..., Any], inputs: dict[str, Artifact]
) -> None:
    shard = next((inputs["tokens"].data / "validation").glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(ArtifactDamaged, match=r"validation/00000\.bin` is missing or not") as caught:
        train("never")
    assert "--rerun tokenize" in caught.value.hint


def test_two_workers_on_ray_train_give_the_curve_of_one_process(
    train: Callable[..., Any], ray_session: Any, make_context: Callable[..., Any], tmp_path: Any
) -> None:
    losses_shown: list[float] = []
    one = make_context()
    one.progress = lambda done, total, unit, **facts: losses_shown.append(facts["loss"])
    alone, _ = train("alone", context=one)
    assert losses_shown == list(losses(alone).values()), "the progress shows the loss"
    seen: list[int] = []
    context = make_context(num_workers=2, start_ray=lambda: ray_session)
    context.progress = lambda done, total, unit, **facts: seen.append(done if "loss" in facts else -1)
    with pytest.raises(UsageError, match="3 training workers do not fit on a cluster of 2 CPUs"):
        train("refused", context=make_context(num_workers=3, start_ray=lambda: ray_session))
    with pytest.raises(UsageError, match="`global_batch_size` 7 does not divide among 2 workers"):
        train("refused", context=context, global_batch_size=7)
    two, _ = train("two", context=context)
    assert two.resolved["num_workers"] == 2
    assert losses(two) == pytest.approx(losses(alone), rel=1e-3)
    assert two.metrics == pytest.approx(alone.metrics, rel=1e-3)
    assert seen[-1] == 12
    shards, _ = train("sharded", context=context, sharding="full")
    assert shards.resolved["sharding"] == "full"
    for draft in (alone, shards):  # the last checkpoint holds the finished model, ready to use
        exported = (draft.checkpoints / "step-12" / "model" / "model.safetensors").read_bytes()
        assert exported == (draft.data / "model.safetensors").read_bytes()
    assert losses(shards) == pytest.approx(losses(alone), rel=1e-3)
    one, other = (load_model(draft.data).state_dict() for draft in (alone, shards))
    assert all(torch.allclose(one[name], other[name], atol=2e-2) for name in one)
