"""Lanes compute every row once, raise errors, split the threads, and sum gradients in the parameter's layout."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bessemer.train.lanes import Lanes, accumulated, num_lanes, share_out


@given(rows=st.integers(0, 100), lanes=st.integers(1, 12), at_once=st.integers(1, 40))
def test_every_row_is_in_one_micro_batch_and_shares_are_even(rows, lanes, at_once):
    shares = share_out(rows, lanes, at_once)
    assert [row for share in shares for part in share for row in range(part.start, part.stop)] == list(range(rows))
    sizes = [sum(part.stop - part.start for part in share) for share in shares]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert all(0 < part.stop - part.start <= at_once for share in shares for part in share)


def test_lanes_share_the_threads_and_leave_those_of_the_caller_alone():
    before = torch.get_num_threads()
    with_two = Lanes(2, threads=4)
    barrier = threading.Barrier(2)
    assert with_two.map(lambda _: barrier.wait(timeout=10) * 0 + torch.get_num_threads(), [0, 1]) == [2, 2]
    assert torch.get_num_threads() == before


def test_lanes_can_be_given_another_number():
    lanes = Lanes(1, threads=1)
    lanes.resize(2, threads=6)
    barrier = threading.Barrier(2)
    assert lanes.map(lambda _: barrier.wait(timeout=10) * 0 + torch.get_num_threads(), [0, 1]) == [3, 3]
    lanes.resize(1, threads=6)
    assert lanes.map(lambda _: threading.current_thread() is threading.main_thread(), [0]) == [True]


def test_an_error_in_a_lane_is_raised_when_all_have_ended():
    ended = []

    def work(number: int) -> None:
        if number == 0:
            raise ValueError("lane 0")
        ended.append(number)

    with pytest.raises(ValueError, match="lane 0"):
        Lanes(2, threads=2).map(work, [0, 1])
    assert ended == [1]


def test_large_models_and_accelerators_have_one_lane():
    assert num_lanes(torch.device("cpu"), threads=2, rows=16, num_parameters=5_000_000) == 2
    assert num_lanes(torch.device("cpu"), threads=8, rows=3, num_parameters=5_000_000) == 3
    assert num_lanes(torch.device("cpu"), threads=2, rows=16, num_parameters=200_000_000) == 1
    assert num_lanes(torch.device("cuda"), threads=2, rows=16, num_parameters=5_000_000) == 1


@pytest.mark.parametrize(
    "gradient",
    [
        torch.arange(12.0).view(4, 3).T,
        torch.arange(4.0).expand(3, 4),
        torch.tensor(2.0).expand(3, 4),
        torch.arange(48.0).view(6, 8)[::2, ::2],
        torch.arange(12.0).view(3, 4),
    ],
    ids=["column-major", "repeated rows", "one number", "strided", "row-major"],
)
@pytest.mark.parametrize("parameter", [torch.zeros(3, 4), torch.zeros(4, 3).T], ids=["row-major", "column-major"])
def test_gradients_add_up_in_the_layout_of_their_parameter(parameter, gradient):
    expected, before = 2 * gradient, gradient.clone()
    total = accumulated(parameter, None, gradient)
    assert total.stride() == parameter.stride()
    total = accumulated(parameter, accumulated(parameter, total, None), gradient)
    assert total.stride() == parameter.stride()
    assert torch.equal(total, expected)
    assert torch.equal(gradient, before), "the gradient's memory may be in use elsewhere"
    assert accumulated(parameter, None, None) is None


def test_two_parameters_with_one_gradient_do_not_share_their_totals():
    """`autograd.grad` returns the same tensor for both terms of a sum."""
    one, other = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    totals = [None, None]
    for _ in range(2):
        found = torch.autograd.grad((one + other).sum(), [one, other])
        totals = [accumulated(p, total, g) for p, total, g in zip((one, other), totals, found, strict=True)]
    assert [total.tolist() for total in totals] == [[2.0] * 3] * 2
