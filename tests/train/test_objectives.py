"""Objectives mask, reorder and mix rows correctly, and models learn from them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.train.small_language import PLAN, VOCABULARY, make_model, write_stories

from bessemer.errors import UsageError
from bessemer.model.config import ModelShape
from bessemer.model.transformer import IGNORED, Transformer
from bessemer.tokens.infill import Sentinels
from bessemer.train.objectives.build import build_objective
from bessemer.train.objectives.causal import Causal
from bessemer.train.objectives.infill import Infill
from bessemer.train.objectives.masked import PASSES, Masked
from bessemer.train.objectives.mixture import WHICH, Mixture
from bessemer.train.sampler import BatchSampler, Rows

MASK_ID = VOCABULARY - 1


@pytest.fixture
def masked(store):
    return Masked(store, length=16, seed=3, validation_tokens=10**6, mask_id=MASK_ID, masking_ratio=0.3)


@pytest.fixture
def stories(tmp_path):
    return write_stories(tmp_path / "stories")


@pytest.fixture
def infill(stories):
    store, tokenizer = stories
    return Infill(store, tokenizer, Sentinels.of(tokenizer), length=64, seed=3, validation_tokens=10**6)


def rows_of(objective, step=1, size=8):
    return BatchSampler(objective.num_rows, size, 3).rows(step)


def test_masked_hides_the_asked_share_of_text_and_asks_for_it_alone(masked):
    batch = masked.batch(1, rows_of(masked))
    whole = masked.windows.read(rows_of(masked))[:, :-1]
    hidden = batch["targets"].numpy() != IGNORED
    assert (batch["targets"].numpy()[hidden] == whole[hidden]).all()
    assert (batch["tokens"].numpy()[hidden] == MASK_ID).all()
    assert (batch["tokens"].numpy()[~hidden] == whole[~hidden]).all()
    assert not (whole[hidden] == 0).any()  # end-of-text tokens are never masked
    assert (hidden.sum(1) == np.round(0.3 * (whole != 0).sum(1))).all()


def test_held_out_every_token_of_text_is_asked_for_once(masked):
    batch = masked.validation_batch(0, masked.num_validation_rows)
    asked = (batch["targets"] != IGNORED).view(-1, PASSES, 16).sum(1)
    windows = masked.held_out.read(0, masked.held_out.num_rows, padding=-1)[:, :-1]
    assert torch.equal(asked, torch.from_numpy((windows > 0).astype("int64")))
    half = masked.validation_batch(5, 11)["tokens"]
    assert torch.equal(half, batch["tokens"][5:11])


@pytest.mark.parametrize("kind", ["masked", "infill", "mixture"])
def test_a_row_is_the_same_in_whatever_batch_it_comes(request, kind):
    objective = request.getfixturevalue(kind)
    rows = rows_of(objective)
    whole = objective.batch(1, rows)
    for first, last in ((0, 3), (3, 8)):
        part = objective.batch(7, rows[first:last])
        for name, value in whole.items():
            assert torch.equal(part[name], value[first:last]), name


def test_a_masked_model_sees_what_comes_after_and_learns(trainer, masked):
    settings = {"num_steps": 150, "global_batch_size": 16, "learning_rate": 0.02, "validation_interval": 10**6}
    trained = trainer("masked", objective=masked, **settings)
    found = trained.run().validation
    assert found["pseudo_loss"] < 0.5 * math.log(VOCABULARY)
    assert found["pseudo_perplexity"] == pytest.approx(math.exp(found["pseudo_loss"]))
    batch = masked.validation_batch(0, 1)
    hidden = int(torch.nonzero(batch["targets"][0] != IGNORED)[0])
    changed = {**batch, "tokens": batch["tokens"].clone()}
    changed["tokens"][0, hidden + 1] += 7
    one, other = (masked.measure(trained.model, b)["pseudo_loss"][0] for b in (batch, changed))
    assert one != other


def test_infill_moves_the_middle_of_each_document_and_loses_nothing(infill, stories):
    _, tokenizer = stories
    s = infill.sentinels
    text = "The cat saw two trees by the river."
    orders = set()
    for seed in range(40):
        tokens = infill._reordered(text, np.random.default_rng(seed))
        if tokens[1] == s.suffix and tokens.index(s.middle) > 2:  # suffix, then prefix and middle
            after, rest = tokens[2 : tokens.index(s.middle)], tokens[tokens.index(s.middle) + 1 :]
            assert tokenizer.decode(rest) + tokenizer.decode(after) == text
            orders.add("suffix first")
        else:
            at, middle = tokens.index(s.suffix), tokens.index(s.middle)
            before, after, between = tokens[1:at], tokens[at + 1 : middle], tokens[middle + 1 :]
            assert tokenizer.decode(before) + tokenizer.decode(between) + tokenizer.decode(after) == text
            orders.add("prefix first")
        assert tokens[0] == s.prefix
    assert orders == {"suffix first", "prefix first"}


def test_infill_rows_have_one_length_and_padding_is_not_trained_on(infill):
    batch = infill.batch(1, rows_of(infill))
    assert batch["tokens"].shape == batch["targets"].shape == (8, 64)
    counted = batch["targets"] != IGNORED
    assert torch.equal(batch["tokens"][:, 1:][counted[:, :-1]], batch["targets"][:, :-1][counted[:, :-1]])
    assert counted.float().mean() > 0.8


def test_exact_infill_is_what_greedy_decoding_gives(infill, stories):
    """The measure counts exactly the middles that greedy decoding, token by token, reproduces."""
    _, tokenizer = stories
    shape = ModelShape(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
    model = Transformer(shape.resolve(vocab_size=tokenizer.vocab_size, max_seq_length=64))
    model.initialise(0)
    batch = infill.validation_batch(0, infill.num_validation_rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    right, asked = 0.0, float(len(batch["tokens"]))
    while right < asked / 3:  # overfits the answers until it knows a third of them
        loss = infill.loss(model, batch)
        (loss.sum / loss.weight).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            right = infill.measure(model, batch)["exact_infill"][0].item()
    expected = 0
    for tokens, targets in zip(batch["tokens"], batch["targets"], strict=True):
        places = torch.nonzero(targets != IGNORED).flatten()
        wanted, written = targets[places].tolist(), tokens[: places[0] + 1].tolist()
        while len(written) - places[0] - 1 < len(wanted):
            with torch.no_grad():
                written.append(int(model(torch.tensor([written]))[0, -1].argmax()))
        expected += written[places[0] + 1 :] == wanted
    assert 0 < right < asked
    assert right == expected


@pytest.fixture
def mixture(store, masked):
    causal = Causal(store, length=16, seed=3, validation_tokens=10**6)
    return Mixture({"causal": causal, "masked": masked}, {"causal": 3.0, "masked": 1.0}, seed=3)


def test_a_mixture_shares_the_rows_out_by_weight(mixture):
    rows = Rows(np.zeros(4000, dtype=np.int64), np.arange(4000, dtype=np.int64))
    assert np.bincount(mixture._which(rows))[0] == pytest.approx(3000, abs=120)


def test_a_mixture_is_the_sum_of_its_parts(mixture):
    model, rows = make_model(), rows_of(mixture, size=12)
    batch = mixture.batch(1, rows)
    loss = mixture.loss(model, batch)
    which = batch[WHICH].numpy()
    assert set(which) == {0, 1}
    parts = [part.loss(model, part.batch(1, rows[which == n])) for n, part in enumerate(mixture.parts)]
    assert loss.sum.item() == pytest.approx(sum(part.sum.item() for part in parts), rel=1e-5)
    assert loss.weight == sum(part.weight for part in parts)
    with torch.no_grad():
        measured = mixture.measure(model, mixture.validation_batch(0, mixture.num_validation_rows))
        for part in mixture.parts:
            alone = part.measure(model, part.validation_batch(0, part.num_validation_rows))
            for name, (total, weight) in alone.items():
                assert measured[name][0].item() == pytest.approx(total.item(), rel=1e-5)
                assert measured[name][1] == weight


def test_a_mixture_is_trained_by_the_same_trainer_however_it_is_cut(trainer, mixture):
    """Micro batches and held-out batches may contain one objective or both."""
    runs = [
        trainer(str(size), objective=mixture, micro_batch_size=size, num_lanes=lanes).run().validation
        for size, lanes in ((8, 1), (1, 2), (3, 1))
    ]
    assert runs[0].keys() == {"loss", "bits_per_byte", "pseudo_loss", "pseudo_bits_per_byte", "pseudo_perplexity"}
    for other in runs[1:]:
        assert other == pytest.approx(runs[0], rel=1e-3)


def test_with_a_document_mask_a_document_is_alone(store):
    """The loss of a row is the sum of the losses of its documents, each computed alone."""
    model = make_model()
    objective = Causal(store, length=16, seed=0, validation_tokens=100, document_mask=True)
    rows = rows_of(objective, size=4)
    tokens = objective.windows.read(rows)
    expected = 0.0
    for row in tokens:
        ends = [place + 1 for place in np.flatnonzero(row[:-1] == 0)]
        for start, end in zip([0, *ends], [*ends, 16], strict=True):
            if end > start:
                piece = torch.from_numpy(row[start : end + 1])[None]
                positions = torch.arange(start, end)
                logits = model(piece[:, :-1], positions=positions)
                expected += torch.nn.functional.cross_entropy(logits[0], piece[0, 1:], reduction="sum").item()
    assert objective.loss(model, objective.batch(1, rows)).sum.item() == pytest.approx(expected, rel=1e-5)


def plan_for(shares):
    return replace(PLAN, max_seq_length=32, objective=PLAN.objective | {"shares": shares})


def test_objectives_are_built_by_name_and_need_their_special_tokens(stories):
    store, tokenizer = stories
    plan = plan_for({"causal": 0.5, "fill_in_the_middle": 0.5})
    built = build_objective(plan, store, tokenizer, validation_tokens=1000)
    assert isinstance(built, Mixture)
    assert built.causal
    lone = build_objective(plan_for({"masked": 1.0}), store, tokenizer, validation_tokens=1000)
    assert isinstance(lone, Masked)
    assert not lone.causal

    class Plain:
        def special_id(self, token):
            return None

    for name in ("masked", "fill_in_the_middle"):
        with pytest.raises(UsageError, match="no special token"):
            build_objective(plan_for({name: 1.0}), store, Plain(), validation_tokens=1000)


@pytest.mark.parametrize("name", ["causal", "masked", "fill_in_the_middle"])
def test_the_plans_z_loss_is_part_of_the_loss_and_of_no_measure(stories, name):
    store, tokenizer = stories
    shape = ModelShape(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = Transformer(shape.resolve(vocab_size=tokenizer.vocab_size, max_seq_length=64))
    model.initialise(seed=0)
    settings = {"shares": {name: 1.0}, "masking_ratio": 0.3, "document_mask": False}

    def objective(z_loss):
        plan = replace(PLAN, max_seq_length=64, objective=settings | {"z_loss": z_loss})
        return build_objective(plan, store, tokenizer, validation_tokens=1000)

    plain, weighed = objective(0.0), objective(0.5)
    batch = plain.batch(1, rows_of(plain))
    one, other = plain.loss(model, batch), weighed.loss(model, batch)
    hidden = model(batch["tokens"], logits=False, causal=name != "masked")
    log_sums = (hidden @ model.head().T).logsumexp(-1)[batch["targets"] != IGNORED]
    assert log_sums.abs().min() > 1
    assert (other.sum - one.sum).item() == pytest.approx(0.5 * log_sums.square().sum().item(), rel=1e-4)
    assert other.weight == one.weight
    held_out = plain.validation_batch(0, 1)
    assert weighed.measure(model, held_out) == plain.measure(model, held_out)
