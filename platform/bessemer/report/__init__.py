"""The report of a run: one self-contained HTML file, built from the run's files."""
