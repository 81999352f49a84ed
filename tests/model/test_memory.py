"""Freed memory is reused without new page faults, and a growing process returns memory to the system."""

from __future__ import annotations

import subprocess
import sys

from bessemer.model.memory import BoundedMemory

PROGRAM = """
import resource
from bessemer.model.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        block = bytearray(b"x" * (8 << 20))
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = faults()
if keep_freed_memory():
    faults()
    print(usual, faults())
"""


def test_blocks_of_megabytes_cost_no_page_faults_once_kept() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    if printed:
        usual, kept = map(int, printed.split())
        assert kept < 100 < usual


SCATTERED = """
from bessemer.model.memory import give_freed_memory_back, keep_freed_memory, resident_bytes

if keep_freed_memory():
    blocks = [bytearray(b"x" * (1 << 20)) for _ in range(400)]
    del blocks[::2]
    full = resident_bytes()
    give_freed_memory_back()
    print((full - resident_bytes()) >> 20)
"""


def test_holes_between_living_blocks_can_be_given_back() -> None:
    printed = subprocess.run([sys.executable, "-c", SCATTERED], check=True, capture_output=True, text=True).stdout
    if printed:
        assert int(printed) > 150


def test_a_process_that_grows_is_held_to_half_more_than_its_steps_need() -> None:
    """A process that grows with each step returns memory. A process of constant size does not."""
    size, given_back, sizes = 1000, 0, []

    def give_back() -> None:
        nonlocal size, given_back
        size, given_back = 1000, given_back + 1

    memory = BoundedMemory(lambda: size, give_back)
    for _ in range(300):
        size += 20
        sizes.append(size)
        memory.step_done()
    assert given_back > 5
    assert max(sizes) <= 1.5 * (1000 + BoundedMemory.SETTLING * 20) + 20

    size, given_back = 1000, 0
    constant = BoundedMemory(lambda: size, give_back)
    for _ in range(300):
        constant.step_done()
    assert given_back == 0
