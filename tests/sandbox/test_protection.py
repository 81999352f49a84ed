"""`measure` tells the truth: a machine without a barrier reports exactly what a program then reaches."""

from __future__ import annotations

import sys

import pytest
from tests.sandbox import lesser_machine
from tests.sandbox.lesser_machine import run_without

from bessemer.sandbox.protection import KINDS, Protection, measure, unprotected

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or lesser_machine.COLUMN is None or bool(unprotected()),
    reason="this machine has no barrier that could be taken away",
)
MEASURE = "from bessemer.sandbox.protection import measure; found = measure(); print(found.barriers, found.unprotected)"


def measured_without(*barriers: str) -> tuple[set[str], set[str]]:
    """The barriers that were left, without versions, and the kinds that a program reached."""
    left, _, reached = run_without(list(barriers), MEASURE).partition(") (")
    return {name for name in ("namespaces", "landlock", "seccomp") if name in left}, {k for k in KINDS if k in reached}


def test_every_barrier_that_the_kernel_offers_is_used() -> None:
    assert unprotected() == ()
    assert {"landlock", "seccomp"} <= {name.partition(":")[0] for name in measure().barriers}


def test_without_namespaces_everything_is_still_protected() -> None:
    """As in most containers, which refuse `unshare`."""
    assert measured_without("namespaces") == ({"landlock", "seccomp"}, set())


@pytest.mark.parametrize(
    ("lost", "reached"),
    [
        (["landlock"], {"files"}),
        (["seccomp"], {"network", "processes", "files"}),
        (["landlock", "namespaces"], {"files"}),
        (["landlock", "namespaces", "seccomp"], {"network", "processes", "files"}),
    ],
)
def test_what_a_lost_barrier_leaves_open_is_reported(lost: list[str], reached: set[str]) -> None:
    barriers, found = measured_without(*lost)
    assert not barriers & set(lost)
    assert found == reached


def test_a_description_names_what_is_reached_and_the_barriers() -> None:
    assert Protection(("seccomp",), ("files",)).describe() == "programs reach files (seccomp)"
    expected = "network, processes and files are out of reach (landlock:7, seccomp)"
    assert Protection(("landlock:7", "seccomp"), ()).describe() == expected
