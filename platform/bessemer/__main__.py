"""`python -m bessemer`, which a job on a cluster calls."""

from bessemer.cli import main

main()
