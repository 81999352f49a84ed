"""Training objectives. The trainer uses them only through the interface `base.Objective`."""
