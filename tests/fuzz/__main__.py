"""`python -m tests.fuzz`: see `fuzzer.py`."""

import sys

from tests.fuzz.fuzzer import main

sys.exit(main())
