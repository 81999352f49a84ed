"""`ui` and `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bessemer.cli.common import print_table, say, storage_option


@click.command()
@storage_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5000, show_default=True)
def ui(root: Path, host: str, port: int) -> None:
    """Open MLflow's UI on the runs under the storage path."""
    import socket

    from bessemer.errors import UsageError
    from bessemer.tracking.ui import serve

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"port {port} on {host} cannot be used: {error.strerror}", hint="choose another `--port`"
            ) from None
    say(f"MLflow on http://{host}:{port}, ends with Ctrl-C")
    sys.exit(serve(root, host, port))


@click.command()
@click.argument("model", required=False)
@storage_option
@click.option("--security", is_flag=True, help="Check the sockets of a run and the sandbox instead.")
def doctor(root: Path, model: str | None, security: bool) -> None:
    """Check versions, disk, memory, Ray, MLflow, accelerators and MODEL's chat template: one line each, with the fix.

    MODEL is a Hugging Face folder, a run's name, or `@last` (if left out).
    """
    from bessemer.runner import doctor as machine
    from bessemer.runner import exposure

    findings = list(exposure.examine()) if security else machine.examine(root, model)
    print_table(["", "what", "found"], [[f.mark, f.what, f.found] for f in findings])
    for finding in findings:
        if finding.fix:
            say(f"\n{finding.what}: {finding.fix}")
    sys.exit(1 if any(f.mark == "error" for f in findings) else 0)
