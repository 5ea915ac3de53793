"""A local AWS for tests: one server process on a free port, with its own folder, and faults on request.

It needs boto3; the server runs in the emulator's own environment. The README lists the faults.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

FOLDER = Path(__file__).resolve().parent.parent
"""The folder that holds the package and its environment."""
REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
ROOT = "test"
"""The access key and secret key of the root user. They are not secret, because the server answers only on loopback."""
START_TIMEOUT_SECONDS = 60.0


def interpreter_of_servers() -> str:
    """The interpreter in ``EMULATOR_PYTHON``, or that of ``.venv-emulator``."""
    return os.environ.get("EMULATOR_PYTHON") or str(FOLDER / ".venv-emulator" / "bin" / "python")


class LocalAwsError(RuntimeError):
    """Raised when the server does not start. The message has its log."""


class LocalAws:
    """Runs `python -m emulator.server` with the interpreter that `EMULATOR_PYTHON` names.

    Several may run at once: each has its own port, folder and state. With ``keep``, ``restart`` keeps the state.
    """

    region = REGION
    account_id = ACCOUNT_ID

    def __init__(self, environment: dict[str, str] | None = None, *, keep: bool = False) -> None:
        self._environment = environment or {}
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, Any] = {}
        self.state_dir = Path()
        self.endpoint_url = ""

    def start(self) -> LocalAws:
        """Start the server and wait until it answers."""
        interpreter = interpreter_of_servers()
        if not Path(interpreter).exists():
            raise LocalAwsError(f"{interpreter} does not exist: run `make setup`, or name another in EMULATOR_PYTHON.")
        self.state_dir = Path(tempfile.mkdtemp(prefix="local-aws-"))
        self._serve(interpreter, 0)
        return self

    def restart(self) -> None:
        """Stop the server and start another one on the same folder and port. It has the state only with ``keep``."""
        port = int((self.state_dir / "port").read_text())
        self._terminate()
        (self.state_dir / "port").unlink(missing_ok=True)
        self._serve(interpreter_of_servers(), port)

    def _serve(self, interpreter: str, port: int) -> None:
        options = ["--keep"] if self._keep else []
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    interpreter,
                    "-m",
                    "emulator.server",
                    "--port",
                    str(port),
                    "--state-dir",
                    str(self.state_dir),
                    *options,
                ],
                cwd=FOLDER,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        port_file = self.state_dir / "port"
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                message = self.log_path.read_text()
                self.stop()
                raise LocalAwsError(f"The local AWS did not start:\n{message}")
            time.sleep(0.02)
        self.endpoint_url = f"http://127.0.0.1:{int(port_file.read_text())}"

    @property
    def log_path(self) -> Path:
        return self.state_dir / "server.log"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    def stop(self) -> None:
        """Stop the server, its function workers and its folder."""
        self._terminate()
        if self.state_dir != Path():
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def _terminate(self) -> None:
        while self._clients:
            self._clients.popitem()[1].close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> LocalAws:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def session(self, access_key: str = ROOT, secret_key: str = ROOT, token: str | None = None) -> boto3.Session:
        """A session that reads only the region from the caller's AWS configuration."""
        return boto3.Session(
            aws_access_key_id=access_key, aws_secret_access_key=secret_key, aws_session_token=token, region_name=REGION
        )

    def client(self, service: str, **options: Any) -> Any:
        """A client with root credentials: one for each service, unless it has options."""
        if options:
            return self._client(self.session(), service, options)
        # Making a client takes a tenth of a second, and tests ask for one each time that they look.
        if service not in self._clients:
            self._clients[service] = self._client(self.session(), service, {})
        return self._clients[service]

    def client_as(self, role_arn: str, service: str, **options: Any) -> Any:
        """A client with a session of the role, so that its policies decide."""
        session = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
        return self._client(
            self.session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]), service, options
        )

    def environment(self) -> dict[str, str]:
        """Variables for a command line or Terraform that talks to this server as root."""
        return {
            "AWS_ACCESS_KEY_ID": ROOT,
            "AWS_SECRET_ACCESS_KEY": ROOT,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _client(self, session: Any, service: str, options: dict[str, Any]) -> Any:
        defaults = Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=64,
            inject_host_prefix=False,
            s3={"addressing_style": "path"},
        )
        config = defaults.merge(options.pop("config", None) or Config())
        return session.client(service, endpoint_url=self.endpoint_url, config=config, **options)


# --- faults: for the list, see `emulator/service_faults.py` and `emulator/bedrock/control.py`


def control(endpoint_url: str, method: str, what: str, body: dict[str, Any] | None = None) -> Any:
    """Send a control request, such as `bedrock/faults`. Returns its answer."""
    request = urllib.request.Request(  # noqa: S310 - the server of a test, on loopback
        f"{endpoint_url}/_emulator/{what}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answered:  # noqa: S310 - as above
        return json.load(answered)


@contextmanager
def service_fault(endpoint_url: str, service: str, **options: Any) -> Iterator[None]:
    """Make a service fail inside this context, for example `sqs` with `operation="SendMessage*"`."""
    control(endpoint_url, "PUT", "services/faults", {"service": service, **options})
    try:
        yield
    finally:
        control(endpoint_url, "DELETE", "services/faults")


@contextmanager
def bedrock_fault(endpoint_url: str, fault: str, **options: Any) -> Iterator[None]:
    """Add a fault inside this context, such as `record_errors` with `rate=0.01`. Afterwards, no fault is left."""
    control(endpoint_url, "PUT", "bedrock/faults", {"fault": fault, **options})
    try:
        yield
    finally:
        control(endpoint_url, "DELETE", "bedrock/faults")


@contextmanager
def bedrock_settings(endpoint_url: str, **settings: Any) -> Iterator[None]:
    """Change settings inside this context, such as `concurrent_jobs=2`. Afterwards, the server's own apply."""
    control(endpoint_url, "PUT", "bedrock/settings", settings)
    try:
        yield
    finally:
        control(endpoint_url, "DELETE", "bedrock/settings")
