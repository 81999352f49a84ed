"""Sets the environment variables that Ray, MLflow and tokenizers read at import."""

from __future__ import annotations

import os
import sys


def prepare() -> None:
    """Sets the variables; existing values stay. Every entry point calls this function first."""
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray starts local clusters with a token since 2.59
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # detects a worker's death four times sooner
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning at barriers made training 5 times slower next to a busy process
        "RAY_worker_niceness": "0",  # 15 otherwise: a second program on the machine would starve the training
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }.items():
        os.environ.setdefault(name, value)
