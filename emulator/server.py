"""The local AWS: MiniStack's application in this process, with this package's extensions installed.

    python -m emulator.server --port 4566 --state-dir build/local-aws

It listens on 127.0.0.1 only, enforces IAM on every request (root is access key `test`, secret `test`), keeps
every file it writes below the state directory and, on SIGTERM, ends with all its function workers. With --keep it then
writes its state there, and the next server on the directory begins with it.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import importlib
import os
import pkgutil
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 0.5
INHERITED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "EVENTS_RATE_SCALE",
    "SFN_LONGEST_WAITS",
    "SFN_START_EXECUTION_QUOTA",
    "SFN_WAIT_SCALE",
    "LOG_LEVEL",
    "LAMBDA_ACCOUNT_CONCURRENCY",
    "BEDROCK_STAGE_SECONDS",
    "BEDROCK_CONCURRENT_JOBS",
    "BEDROCK_MINIMUM_RECORDS",
    "BEDROCK_RECORDS_PER_FILE",
    "BEDROCK_RECORDS_PER_JOB",
    "LAMBDA_WARM_TTL_SECONDS",
)
"""The variables that the server keeps from its caller's environment: no credentials, profiles, proxies or endpoints."""


class StateDirectoryBusyError(RuntimeError):
    """Raised when another server already runs on the state directory."""


def prepare_environment(state_dir: Path, port: int) -> None:
    """Give MiniStack the settings it reads at import, and nothing else."""
    kept = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        AUTH="true",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - the documented root of a server on loopback
        AWS_EC2_METADATA_DISABLED="true",
        BIND_HOST=LOOPBACK,
        DOCKER_HOST=f"unix://{state_dir}/no-docker.sock",
        EDGE_PORT=str(port),
        GATEWAY_PORT=str(port),
        HOME=str(state_dir),
        IOT_MTLS_ENABLED="0",
        MINISTACK_WORKER_THREADS="160",
        S3_DATA_DIR=str(state_dir / "s3"),
        SFTP_ENABLED="0",
        STATE_DIR=str(state_dir / "state"),
        TMPDIR=str(state_dir / "tmp"),
    )
    os.environ.setdefault("LOG_LEVEL", "WARNING")


def claim_state_directory(state_dir: Path) -> int:
    """Take the directory's lock for the life of this process and empty its temporary folder."""
    state_dir.mkdir(parents=True, exist_ok=True)
    pid_file = os.open(state_dir / "pid", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(pid_file)
        raise StateDirectoryBusyError(
            f"A local AWS already runs in {state_dir}: stop it first, or name another --state-dir."
        ) from None
    os.ftruncate(pid_file, 0)
    os.write(pid_file, f"{os.getpid()}\n".encode())
    shutil.rmtree(state_dir / "tmp", ignore_errors=True)
    (state_dir / "tmp").mkdir()
    (state_dir / "port").unlink(missing_ok=True)
    return pid_file


def listen(port: int) -> socket.socket:
    """Bind the loopback interface; port 0 lets the system choose a free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def extensions() -> list[ModuleType]:
    """Every module of this package that has `install()`."""
    import emulator  # noqa: PLC0415 - after the environment is prepared

    modules = (
        importlib.import_module(f"emulator.{found.name}")
        for found in pkgutil.iter_modules(emulator.__path__)
        if found.name not in ("__main__", "server", "testing")
    )
    return [module for module in modules if hasattr(module, "install")]


async def serve(listener: socket.socket, state_dir: Path, when_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. When requests are answered, calls ``when_ready`` and writes the port file."""
    from hypercorn.asyncio import serve as hypercorn_serve  # noqa: PLC0415 - after the environment is prepared
    from hypercorn.config import Config  # noqa: PLC0415 - after the environment is prepared
    from ministack.app import app  # noqa: PLC0415 - after the environment is prepared

    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.2
    config.shutdown_timeout = 2
    config.loglevel = "WARNING"

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    announced = asyncio.create_task(announce(port, state_dir, when_ready))
    serving = asyncio.create_task(hypercorn_serve(app, config, shutdown_trigger=stopping.wait))
    asked_to_stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
    # Calls in flight get a short time to finish, not the rest of their time-out.
    await asyncio.wait({serving}, timeout=SHUTDOWN_SECONDS)
    announced.cancel()
    if serving.done():
        serving.result()


async def announce(port: int, state_dir: Path, when_ready: Callable[[], None]) -> None:
    """Write the port file when the server answers."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.readline()
            writer.close()
            if b" 200" in answer:
                break
        except OSError:
            pass
        await asyncio.sleep(0.02)
    when_ready()
    partial = state_dir / "port.partial"
    partial.write_text(f"{port}\n")
    partial.replace(state_dir / "port")


def stop_workers(state_dir: Path) -> None:
    """End every function worker and empty their folders."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - after the environment is prepared

    with lambda_runtime._lock:
        workers = [worker for pool in lambda_runtime._workers.values() for worker in pool]
        lambda_runtime._workers.clear()
    for worker in workers:
        if worker._proc is not None:
            worker._proc.kill()
    lambda_runtime.kill_workers(workers)
    shutil.rmtree(state_dir / "tmp", ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m emulator.server", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=4566, help="port on 127.0.0.1; 0 takes a free one (default: 4566)")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path("build/local-aws"),
        help="folder for everything it writes (default: build/local-aws)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the state in the folder when the server stops")
    options = parser.parse_args(arguments)
    state_dir: Path = options.state_dir.resolve()
    try:
        claim_state_directory(state_dir)
        listener = listen(options.port)
    except StateDirectoryBusyError as busy:
        print(busy, file=sys.stderr)
        return 1
    except OSError as refused:
        print(
            f"Port {options.port} on {LOOPBACK} cannot be used: {refused.strerror}. "
            "Choose another with --port or LOCAL_AWS_PORT.",
            file=sys.stderr,
        )
        return 1
    port = listener.getsockname()[1]
    prepare_environment(state_dir, port)
    for extension in extensions():
        extension.install()
    from emulator import kept_state  # noqa: PLC0415 - after the environment is prepared

    try:
        restored = options.keep and kept_state.restore(state_dir)
    except kept_state.StateOfOtherFormError as other:
        print(other, file=sys.stderr)
        return 1

    async def run() -> None:
        try:
            await serve(listener, state_dir, kept_state.resume if restored else lambda: None)
        finally:
            stop_workers(state_dir)
            if options.keep:
                kept_state.save(state_dir, port)
            (state_dir / "port").unlink(missing_ok=True)
            sys.stdout.flush()
            sys.stderr.flush()
            # An invocation can still hold a thread of the pool. Joining it would delay the end by its time-out.
            os._exit(0)

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
