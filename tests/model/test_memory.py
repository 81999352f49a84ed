"""Freed memory is used again without asking the system for it page by page."""

from __future__ import annotations

import subprocess
import sys

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
