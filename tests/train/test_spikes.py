"""Spikes are detected relative to the recent steps."""

import json

import numpy as np

from bessemer.train.spikes import SpikeWindow


def filled(**settings):
    window = SpikeWindow(sigmas=6.0, **settings)
    random = np.random.default_rng(0)
    for loss, norm in random.normal([3.0, 1.0], [0.1, 0.05], (128, 2)):
        assert window.accepts(loss, norm)
    return window


def test_a_loss_or_a_norm_far_above_the_others_is_a_spike():
    assert not filled().accepts(4.0, 1.0)
    assert not filled().accepts(3.0, 1.5)
    assert filled().accepts(3.4, 1.2)


def test_a_fall_is_no_spike():
    assert filled().accepts(0.5, 0.0)


def test_nothing_is_judged_before_half_the_window_is_there():
    window = SpikeWindow(sigmas=6.0)
    assert all(window.accepts(1.0, 1.0) for _ in range(63))
    assert window.accepts(100.0, 1.0)


def test_a_loss_that_moved_for_good_is_learned_from_again():
    window = filled()
    verdicts = [window.accepts(6.0, 1.0) for _ in range(20)]
    assert not verdicts[0]
    assert all(verdicts[10:])


def test_the_window_survives_json_exactly():
    window, other = filled(), SpikeWindow(sigmas=6.0)
    other.load_state_dict(json.loads(json.dumps(window.state_dict())))
    assert other.state_dict() == window.state_dict()
    assert not other.accepts(4.0, 1.0)
