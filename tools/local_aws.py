"""Starts, stops and finds the local AWS, and sets the variables that reach it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import boto3

from emulator.__main__ import announced_port, kept_port, running_pid
from tools.errors import CommandError

REPOSITORY = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ROOT = "test"
"""Access key and secret key of its root. Not a secret: it answers on loopback only."""
DEFAULT_PORT = 4566


def state_directory() -> Path:
    """The folder of the local AWS: the variable LOCAL_AWS_DIR, or build/local-aws."""
    return Path(os.environ.get("LOCAL_AWS_DIR") or REPOSITORY / "build" / "local-aws").resolve()


def is_running() -> bool:
    """Whether a local AWS of this folder runs."""
    return running_pid(state_directory()) is not None


def endpoint_url() -> str:
    """Where the local AWS answers. Raises CommandError when none runs."""
    port = announced_port(state_directory()) if is_running() else None
    if port is None:
        raise CommandError(f"No local AWS runs in {state_directory()}: start it with `make up`.")
    return f"http://127.0.0.1:{port}"


def session(region: str = REGION) -> boto3.Session:
    """A session of the local AWS's root. It does not read the caller's AWS configuration."""
    return boto3.Session(aws_access_key_id=ROOT, aws_secret_access_key=ROOT, region_name=region)


def environment() -> dict[str, str]:
    """The variables with which the AWS CLI, an SDK or Terraform reaches the local AWS as its root."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url(),
        "AWS_ACCESS_KEY_ID": ROOT,
        "AWS_SECRET_ACCESS_KEY": ROOT,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def free_port() -> int:
    """LOCAL_AWS_PORT, or the port of the kept state, or 4566 if nothing listens there, or 0 for any free port.

    A kept state has the addresses of its queues, so it needs its port. Raises CommandError if that is taken.
    """
    if named := os.environ.get("LOCAL_AWS_PORT"):
        return int(named)
    kept = kept_port(state_directory())
    if kept is not None and not _is_free(kept):
        raise CommandError(
            f"The local AWS of {state_directory()} needs port {kept}, which another process has. Stop that process, "
            "or forget the local AWS with `make clean`."
        )
    return kept or (DEFAULT_PORT if _is_free(DEFAULT_PORT) else 0)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start(*, keep: bool = False) -> bool:
    """Start the local AWS; returns False if it was running. Raises CommandError if it cannot start.

    With ``keep``, it begins with the state that the last one in the folder kept, and keeps its own when it stops.
    """
    if is_running():
        return False
    command("start", "--port", str(free_port()), *(["--keep"] if keep else []))
    return True


def stop() -> None:
    """Stop the local AWS."""
    command("stop")


def forget() -> None:
    """Stop the local AWS and remove its folder. The files go in the background: on a busy disk they take seconds."""
    folder = state_directory()
    removed = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", suffix=".removed", dir=folder.parent))
    with suppress(FileNotFoundError):
        (folder / "tmp").rename(removed / "tmp")  # a server that stops waits for the removal of this one
    try:
        stop()
    finally:
        with suppress(FileNotFoundError):
            folder.rename(removed / "state")
        subprocess.run(["sh", "-c", 'rm -rf "$1" &', "sh", str(removed)], check=False)


def command(*arguments: str) -> None:
    """Run ``python -m emulator`` with the interpreter of the local AWS. Raises CommandError when it fails."""
    interpreter = os.environ.get("EMULATOR_PYTHON") or str(REPOSITORY / ".venv-emulator" / "bin" / "python")
    started = subprocess.run(
        [interpreter, "-m", "emulator", *arguments, "--state-dir", str(state_directory())],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    if started.returncode != 0:
        raise CommandError((started.stderr or started.stdout).strip() or f"The local AWS: {arguments[0]} failed.")
