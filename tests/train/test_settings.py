"""The values of settings left to `auto`, and the errors for sizes that do not fit together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.small_language import PLAN

from bessemer.errors import UsageError
from bessemer.model.config import ModelShape
from bessemer.train.objectives.settings import ObjectiveSettings
from bessemer.train.settings import TrainSettings, micro_batch_size, resolve_pretraining, validation_interval

TINY = ModelShape(size="tiny").resolve(vocab_size=8192, max_seq_length=512)
SMALL = ModelShape(size="small").resolve(vocab_size=32_768, max_seq_length=1024)


def plan_of(model=TINY, train_tokens=10**7, **changes):
    return resolve_pretraining(
        TrainSettings.model_validate(changes), model, train_tokens=train_tokens, seed=0, objective={}
    )


def test_a_run_is_as_long_as_it_is_told():
    assert plan_of(num_tokens=2_200_000).num_tokens == pytest.approx(2_200_000, rel=0.01)
    assert plan_of(num_epochs=0.5).num_tokens == pytest.approx(5_000_000, rel=0.01)
    assert plan_of(max_steps=7).num_steps == 7
    assert plan_of().num_tokens == pytest.approx(20 * TINY.num_parameters(embedding=False), rel=0.01)
    assert plan_of(num_tokens=1).num_steps == 1


@settings(deadline=None)
@given(num_tokens=st.integers(1, 10**13), length=st.sampled_from([128, 512, 2048]))
def test_the_batch_is_a_power_of_two_and_grows_with_the_budget(num_tokens, length):
    batch = plan_of(num_tokens=num_tokens, max_seq_length=length).global_batch_size
    assert batch & (batch - 1) == 0
    assert batch <= plan_of(num_tokens=2 * num_tokens, max_seq_length=length).global_batch_size


def test_the_batch_follows_the_ladder_of_its_source():
    """OLMo-core's rule gives 2048 * 160 tokens at N = 108e6 and D = 20 N; the nearest power of two is 2048 * 128."""
    assert plan_of(num_tokens=20 * 108_000_000, max_seq_length=2048).tokens_per_step == 2048 * 128


def test_two_lengths_of_a_run_are_one_too_many():
    with pytest.raises(ValueError, match="only one of `num_tokens` and `max_steps` may be set"):
        TrainSettings(num_tokens=1, max_steps=1)


def test_what_is_set_by_hand_is_taken():
    plan = plan_of(
        learning_rate=0.123, embedding_learning_rate=0.2, weight_decay=0, warmup_steps=5, global_batch_size=3
    )
    assert (plan.learning_rate, plan.embedding_learning_rate, plan.weight_decay) == (0.123, 0.2, 0)
    assert (plan.warmup_steps, plan.global_batch_size) == (5, 3)


def test_a_corpus_shorter_than_a_row_is_refused():
    with pytest.raises(UsageError, match="`max_seq_length` is 512, but the corpus has only 512 training tokens"):
        plan_of(train_tokens=512)


def test_a_batch_divides_among_the_workers_or_is_refused():
    plan = replace(PLAN, global_batch_size=12)
    assert [micro_batch_size(TrainSettings(), plan, workers) for workers in (1, 2, 3, 12)] == [12, 6, 4, 1]
    assert micro_batch_size(TrainSettings(micro_batch_size=5), plan, 2) == 5
    long = replace(plan, max_seq_length=8192)
    assert micro_batch_size(TrainSettings(), long, 1) == 2
    assert micro_batch_size(TrainSettings(), replace(plan, max_seq_length=10**6), 1) == 1
    with pytest.raises(UsageError, match="`global_batch_size` 12 does not divide among 5 workers"):
        micro_batch_size(TrainSettings(), plan, 5)


@settings(deadline=None)
@given(num_steps=st.integers(1, 10**6), validation_tokens=st.integers(0, 10**7))
def test_measuring_costs_a_twentieth_unless_that_would_be_too_seldom(num_steps, validation_tokens):
    plan = replace(PLAN, num_steps=num_steps)
    interval = validation_interval(TrainSettings(), plan, validation_tokens)
    times = num_steps / interval
    assert 1 <= interval <= num_steps
    assert times <= 40
    assert times <= 7 or times * validation_tokens / 3 <= 0.1 * plan.num_tokens


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"document_mask": True, "objective": "masked"}, "document_mask"), ({"masking_ratio": 0.2}, "masking_ratio")],
)
def test_a_setting_of_another_objective_is_refused_and_not_ignored(settings, words):
    with pytest.raises(ValueError, match=words):
        ObjectiveSettings.model_validate(settings)
