"""Start and stop the local AWS, and show its status.

python -m emulator start | stop | status   [--state-dir build/local-aws] [--port 4566] [--keep]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
"""The folder of the package, so that the server's process can import it."""
STATE_DIR = Path("build", "local-aws")
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 60.0
"""A server that keeps its state writes it when it stops."""


def running_pid(state_dir: Path) -> int | None:
    """The id of the process that holds the directory's lock, or None."""
    try:
        with (state_dir / "pid").open() as pid_file:
            try:
                fcntl.flock(pid_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(pid_file.read().strip() or 0) or None
    except FileNotFoundError:
        pass
    return None


def announced_port(state_dir: Path) -> int | None:
    """The port of a server that is ready."""
    try:
        return int((state_dir / "port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def kept_port(state_dir: Path) -> int | None:
    """The port of the server whose state the folder keeps."""
    try:
        return int((state_dir / "state.port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def written_bytes(state_dir: Path) -> int:
    """How much of the state a server that stops has written so far."""
    try:
        return (state_dir / "state.pickle.partial").stat().st_size
    except FileNotFoundError:
        return 0


def start(state_dir: Path, port: int, keep: bool = False) -> int:
    """Start the server in the background and wait until it answers."""
    state_dir.mkdir(parents=True, exist_ok=True)
    running = running_pid(state_dir)
    if running is not None:
        answering = await_port(state_dir, lambda: running_pid(state_dir) is not None)
        if answering is None:
            print(
                f"Process {running} holds {state_dir} but does not answer: run `python -m emulator stop`.",
                file=sys.stderr,
            )
            return 1
        if port not in (0, answering):
            print(
                f"The local AWS in {state_dir} already runs on port {answering}, not {port}: stop it first.",
                file=sys.stderr,
            )
            return 1
        print(f"Local AWS already runs at http://127.0.0.1:{answering} (process {running}).")
        return 0
    (state_dir / "port").unlink(missing_ok=True)
    log_path = state_dir / "server.log"
    server = [sys.executable, "-m", "emulator.server"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*server, "--port", str(port), "--state-dir", str(state_dir), *(["--keep"] if keep else [])],
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    answering = await_port(state_dir, lambda: process.poll() is None)
    if answering is None:
        if process.poll() is None:
            process.kill()
        print(f"The local AWS did not start:\n{log_path.read_text().strip()}", file=sys.stderr)
        return 1
    print(f"Local AWS runs at http://127.0.0.1:{answering} (process {process.pid}, log {log_path}).")
    return 0


def await_port(state_dir: Path, alive: object) -> int | None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        port = announced_port(state_dir)
        if port is not None:
            return port
        if not alive():  # type: ignore[operator]
            return None
        time.sleep(0.05)
    return None


def stop(state_dir: Path) -> int:
    """Stop the server that holds the directory and empty its worker folders.

    A server that keeps its state can take long to write it, so it is not killed while what it has written grows.
    """
    pid = running_pid(state_dir)
    if pid is None:
        print(f"No local AWS runs in {state_dir}.")
    else:
        os.kill(pid, signal.SIGTERM)
        deadline, written = time.monotonic() + STOP_TIMEOUT_SECONDS, 0
        while running_pid(state_dir) == pid and time.monotonic() < deadline:
            time.sleep(0.05)
            if (size := written_bytes(state_dir)) != written:
                deadline, written = time.monotonic() + STOP_TIMEOUT_SECONDS, size
        if running_pid(state_dir) == pid:
            os.kill(pid, signal.SIGKILL)
        print(f"Stopped the local AWS (process {pid}).")
    for name in ("pid", "port"):
        (state_dir / name).unlink(missing_ok=True)
    shutil.rmtree(state_dir / "tmp", ignore_errors=True)
    return 0


def status(state_dir: Path) -> int:
    """Print the server's address. Exit code 3 if no server runs."""
    pid, port = running_pid(state_dir), announced_port(state_dir)
    if pid is None:
        print(f"No local AWS runs in {state_dir}.")
        return 3
    print(
        f"Local AWS runs at http://127.0.0.1:{port} (process {pid})."
        if port
        else f"Local AWS is starting (process {pid})."
    )
    return 0


def main(arguments: list[str] | None = None) -> int:
    options_of_all = argparse.ArgumentParser(add_help=False)
    options_of_all.add_argument(
        "--state-dir",
        type=Path,
        default=STATE_DIR,
        help="folder of the server's files (default: build/local-aws)",
    )
    parser = argparse.ArgumentParser(prog="python -m emulator", description="Start, stop and look at the local AWS.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser(
        "start", parents=[options_of_all], help="start in the background and wait until it answers"
    )
    starting.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get("LOCAL_AWS_PORT", "4566")),
        help="port on 127.0.0.1; 0 takes a free one (default: LOCAL_AWS_PORT or 4566)",
    )
    starting.add_argument(
        "--keep", action="store_true", help="keep the state in the folder when it stops, and start with the kept one"
    )
    commands.add_parser("stop", parents=[options_of_all], help="stop it and empty its worker folders")
    commands.add_parser("status", parents=[options_of_all], help="say whether it runs, and where")
    options = parser.parse_args(arguments)
    state_dir = options.state_dir.resolve()
    if options.command == "start":
        return start(state_dir, options.port, options.keep)
    return stop(state_dir) if options.command == "stop" else status(state_dir)


if __name__ == "__main__":
    sys.exit(main())
