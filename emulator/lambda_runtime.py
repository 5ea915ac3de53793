"""Lambda's Python runtime: typed errors, limits, clean environments and workers that survive a failed call.

Replaces MiniStack's worker process and the two functions that turn its answers into Lambda's.

* Errors: https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html and
  https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
* Limits: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
* Environment: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
* Execution environments: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime, responses
from ministack.services import lambda_svc

from emulator.lambda_logs import choose_stream
from emulator.lambda_memory import WATCH

BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
SYNCHRONOUS_REQUEST_BYTES = 6 * 1024 * 1024
ASYNCHRONOUS_REQUEST_BYTES = 1024 * 1024
RESPONSE_BYTES = 6 * 1024 * 1024 + 100
"""Six megabytes plus a hundred bytes: the limit in Lambda's own message."""
RUNTIME_PACKAGES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
IDLE_SECONDS = float(os.environ.get("LAMBDA_WARM_TTL_SECONDS", "60"))
"""A worker that has waited this long ends."""
IDLE_WORKERS = 40
"""Above this many waiting workers, the one that has waited longest ends."""

_folders_lock = threading.Lock()
_digests: dict[int, tuple[bytes, str]] = {}


class WorkerExitError(Exception):
    """Raised when the worker process ends before it has answered."""


class WorkerTimeoutError(Exception):
    """Raised when the worker does not answer before the deadline."""


class PythonWorker(lambda_runtime.Worker):  # type: ignore[misc]
    """One execution environment: a process that serves one invocation at a time."""

    _proc: Any

    def __init__(self, func_name: str, config: dict[str, Any], code_zip: bytes) -> None:
        super().__init__(func_name, config, code_zip)
        moment = time.strftime("%Y/%m/%d", time.gmtime())
        self.log_stream = f"{moment}/[{config.get('Version', '$LATEST')}]{os.urandom(16).hex()}"
        self.retired = False
        self.memory_bytes = int(config.get("MemorySize", 128)) * 1024 * 1024
        self.out_of_memory = False
        self._init_error: dict[str, Any] | None = None
        self._answers = b""
        self._log = b""

    def _spawn(self) -> None:
        """Start the process and import the handler. Raises `RuntimeError` when that fails."""
        self._discard_tmpdir()
        self._init_error = None
        self.out_of_memory = False
        self._answers = self._log = b""
        self._tmpdir = tempfile.mkdtemp(prefix="worker-")
        home = Path(self._tmpdir, "tmp")
        home.mkdir()
        code_folder = unpacked(self.code_zip)
        layer_folders = [
            unpacked(content)
            for layer in self.config.get("Layers", [])
            if (content := lambda_svc._resolve_layer_zip(layer))
        ]
        module, _, handler = self.config.get("Handler", "index.handler").rpartition(".")
        self._proc = subprocess.Popen(
            [sys.executable, "-P", "-S", str(BOOTSTRAP)],
            cwd=code_folder,
            env=function_environment(self.config, str(code_folder), str(home), self.log_stream),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        os.set_blocking(self._proc.stderr.fileno(), False)
        self._cold = False
        self._start_time = time.time()
        self._send(
            {
                "code_folder": str(code_folder),
                "layer_folders": [str(folder) for folder in layer_folders],
                "runtime_folder": str(runtime_packages()),
                "module": module.replace("/", "."),
                "handler": handler,
            }
        )
        try:
            answer = self._receive(time.monotonic() + max(10.0, float(self.config.get("Timeout", 3))))
        except (WorkerExitError, WorkerTimeoutError) as error:
            self._end()
            raise RuntimeError(f"Runtime exited during initialisation: {error}") from error
        if answer[:1] == b"E":
            self._init_error = json.loads(answer[1:])
            raise RuntimeError(self._init_error["errorMessage"])

    def invoke(
        self,
        event: Any,
        request_id: str,
        *,
        trace_id: str | None = None,
        depth: Any = None,
        durable: dict[str, Any] | None = None,
        invoked_function_arn: str | None = None,
    ) -> dict[str, Any]:
        """Run one invocation; `status` is `ok` with the answer's text, or `error` with Lambda's error object."""
        with self._lock, watched(self):
            cold = self._proc is None or self._proc.poll() is not None
            timeout = float(self.config.get("Timeout", 3))
            if cold:
                try:
                    self._spawn()
                except RuntimeError as error:
                    report = self._init_error or {
                        "errorMessage": f"RequestId: {request_id} Error: {error}",
                        "errorType": self._exit_type,
                    }
                    log = self._take_log(request_id)
                    self._end()
                    return {
                        "status": "error",
                        "report": report | ({"requestId": request_id} if "requestId" in report else {}),
                        "log": log,
                    }
            started = time.monotonic()
            request = {
                "event": event,
                "request_id": request_id,
                "function_arn": invoked_function_arn or self.config.get("FunctionArn", ""),
                "deadline": time.time() + timeout,
                "environment": invocation_environment(trace_id, depth, durable),
            }
            try:
                self._send(request)
                answer = self._receive(started + timeout)
            except WorkerTimeoutError:
                report = {
                    "errorType": "Sandbox.Timedout",
                    "errorMessage": f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds",
                }
                self._end()
                return {"status": "error", "report": report, "log": self._take_log(request_id)}
            except WorkerExitError as error:
                report = {"errorType": self._exit_type, "errorMessage": f"RequestId: {request_id} Error: {error}"}
                log = self._take_log(request_id)
                self._end()
                return {"status": "error", "report": report, "log": log}
            log = self._take_log(request_id)
            if answer[:1] == b"E":
                return {"status": "error", "report": json.loads(answer[1:]), "log": log}
            if len(answer) - 1 > RESPONSE_BYTES:
                message = (
                    f"Response payload size ({len(answer) - 1} bytes) exceeded "
                    f"maximum allowed payload size ({RESPONSE_BYTES} bytes)."
                )
                report = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}
                return {"status": "error", "report": report, "log": log}
            return {"status": "ok", "result": answer[1:], "log": log}

    def _send(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        remaining = memoryview(struct.pack(">I", len(body)) + body)
        try:
            while remaining:
                remaining = remaining[os.write(self._proc.stdin.fileno(), remaining) :]
        except OSError:
            raise WorkerExitError(self._exit_reason()) from None

    def _receive(self, deadline: float) -> bytes:
        """The next frame of the worker. Reads its log meanwhile, so that the worker never blocks on a full pipe."""
        answers, log = self._proc.stdout.fileno(), self._proc.stderr.fileno()
        poller = select.poll()
        poller.register(answers, select.POLLIN | select.POLLHUP)
        poller.register(log, select.POLLIN)
        while True:
            if len(self._answers) >= 4:
                length = struct.unpack(">I", self._answers[:4])[0]
                if len(self._answers) >= length + 4:
                    frame, self._answers = self._answers[4 : length + 4], self._answers[length + 4 :]
                    return frame
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise WorkerTimeoutError("Runtime did not answer")
            for descriptor, _ in poller.poll(remaining * 1000):
                if descriptor == log:
                    if not self._read_log():
                        poller.unregister(log)
                    continue
                part = os.read(answers, 1 << 20)
                if not part:
                    raise WorkerExitError(self._exit_reason())
                self._answers += part

    def _read_log(self) -> bool:
        """Read the function's output; returns False at the end of the stream."""
        try:
            part = os.read(self._proc.stderr.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        self._log += part
        return bool(part)

    def _take_log(self, request_id: str) -> str:
        """The function's output up to the line that ends this invocation."""
        mark = f"\0{request_id}\n".encode()
        if self._proc is not None:
            while mark not in self._log:
                before = len(self._log)
                if not self._read_log() or len(self._log) == before:
                    break
        text, _, self._log = self._log.partition(mark)
        return text.decode("utf-8", "replace")

    @property
    def _exit_type(self) -> str:
        return "Runtime.OutOfMemory" if self.out_of_memory else "Runtime.ExitError"

    def _exit_reason(self) -> str:
        try:
            code = self._proc.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return "Runtime closed its connection"
        if code < 0:
            names = {9: "killed", 11: "segmentation fault", 6: "aborted", 15: "terminated"}
            return f"Runtime exited with error: signal: {names.get(-code, -code)}"
        return f"Runtime exited with error: exit status {code}" if code else "Runtime exited without providing a reason"

    def _end(self) -> None:
        """Kill the process and keep its output."""
        process, self._proc = self._proc, None
        if process is None:
            return
        process.kill()
        process.wait()
        try:
            while part := os.read(process.stderr.fileno(), 1 << 16):
                self._log += part
        except BlockingIOError:
            pass
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
        self._discard_tmpdir()

    def _discard_tmpdir(self) -> None:
        if self._tmpdir:
            shutil.rmtree(self._tmpdir, ignore_errors=True)


@contextlib.contextmanager
def watched(worker: PythonWorker) -> Iterator[None]:
    """Limit the worker's memory inside this context."""
    WATCH.add(worker)
    try:
        yield
    finally:
        WATCH.discard(worker)


def unpacked(archive: bytes) -> Path:
    """The folder with the archive's content, unpacked once for all workers."""
    known = _digests.get(id(archive))
    digest = known[1] if known and known[0] is archive else hashlib.sha256(archive).hexdigest()
    folder = Path(tempfile.gettempdir(), "code", digest[:32])
    with _folders_lock:
        _digests[id(archive)] = (archive, digest)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=folder.parent))
            source = partial / "archive.zip"
            source.write_bytes(archive)
            with zipfile.ZipFile(source) as opened:
                for member in opened.infolist():
                    target = Path(opened.extract(member, partial / "content"))
                    if mode := member.external_attr >> 16 & 0o777:
                        target.chmod(mode | 0o600)
            (partial / "content").mkdir(exist_ok=True)
            (partial / "content").rename(folder)
            shutil.rmtree(partial)
    return folder


def runtime_packages() -> Path:
    """A folder with only those packages of this interpreter that the managed runtime has.

    https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
    """
    folder = Path(tempfile.gettempdir(), "runtime")
    with _folders_lock:
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
            for name in RUNTIME_PACKAGES:
                source = importlib.util.find_spec(name)
                if source is None or source.origin is None:
                    continue
                path = Path(source.origin)
                path = path.parent if path.name == "__init__.py" else path
                (partial / path.name).symlink_to(path)
            partial.rename(folder)
    return folder


def function_environment(config: dict[str, Any], code_folder: str, home: str, log_stream: str) -> dict[str, str]:
    """The variables that Lambda defines and the function's own, without those of the server.

    `AWS_ENDPOINT_URL` is a standard variable of the SDKs and replaces AWS's DNS here. The interpreter's temporary
    folder and home are in the worker's own folder, because on AWS each environment has its own `/tmp`.
    """
    _, region = lambda_runtime._account_region_from_function_config(config)
    logging_config = config.get("LoggingConfig") or {}
    name = config.get("FunctionName", "")
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "PYTHONUTF8": "1",
        "TZ": ":UTC",
        "HOME": home,
        "TMPDIR": home,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        lambda_runtime.HOST_PREFIX_ENV: "true",
    }
    variables.update(config.get("Environment", {}).get("Variables", {}))
    variables.update(
        {
            "_HANDLER": config.get("Handler", ""),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', '')}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
            "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": logging_config.get("LogGroup") or f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "LAMBDA_TASK_ROOT": code_folder,
            **lambda_runtime.execution_credentials(config),
        }
    )
    if logging_config.get("LogFormat") == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = logging_config.get("ApplicationLogLevel") or "INFO"
    return variables


def invocation_environment(trace_id: str | None, depth: Any, durable: dict[str, Any] | None) -> dict[str, str | None]:
    """The variables that change with each invocation; `None` removes one."""
    variables: dict[str, str | None] = {
        "_X_AMZN_TRACE_ID": trace_id or None,
        lambda_runtime.INVOKE_DEPTH_ENV: None if depth is None else str(depth),
    }
    for name in lambda_runtime.DURABLE_ENV_VARS:
        value = (durable or {}).get(name)
        variables[name] = None if value is None else str(value)
    return variables


def execute_warm(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    """Invoke on a free worker and answer as Lambda does."""
    config = func.get("config") or func
    code_zip = func.get("code_zip")
    if not code_zip:
        return {
            "body": {"errorMessage": "The function has no code.", "errorType": "Runtime.InvalidEntrypoint"},
            "error": True,
            "log": "",
        }
    worker, _ = lambda_runtime.acquire_worker(
        config.get("FunctionName", "unknown"), config, code_zip, qualifier=config.get("Version", "$LATEST")
    )
    choose_stream(getattr(worker, "log_stream", None))
    try:
        result = worker.invoke(
            event,
            request_id,
            trace_id=lambda_svc._xray_trace_id_for_invocation(config),
            invoked_function_arn=config.get("FunctionArn", ""),
            depth=lambda_svc._invoke_depth.get(),
            durable=lambda_svc._durable_env_overlay(),
        )
    finally:
        worker.last_used = time.time()
        lambda_runtime.release_worker(worker)
        if getattr(worker, "retired", False):
            lambda_runtime.kill_workers([worker])
    if result["status"] == "ok":
        return {"body": json.loads(result["result"]), "log": result.get("log", "")}
    report = result.get("report") or {
        "errorMessage": result.get("error", "Unknown error"),
        "errorType": "Runtime.ExitError",
    }
    return {"body": report, "error": True, "log": result.get("log", "")}


def reap_idle_workers(ttl: float | None = None) -> int:
    """End workers that have waited long, and the longest waiting ones above the cap."""
    oldest_start = time.time() - (IDLE_SECONDS if ttl is None else ttl)
    ended = []
    with lambda_runtime._lock:
        idle = sorted(
            (worker for pool in lambda_runtime._workers.values() for worker in pool if not worker.in_use),
            key=lambda worker: worker.last_used,
        )
        surplus = len(idle) - IDLE_WORKERS
        ended = [worker for place, worker in enumerate(idle) if place < surplus or worker.last_used < oldest_start]
        gone = set(map(id, ended))
        for key, pool in list(lambda_runtime._workers.items()):
            kept = [worker for worker in pool if id(worker) not in gone]
            if kept:
                lambda_runtime._workers[key] = kept
            else:
                del lambda_runtime._workers[key]
    for worker in ended:
        if worker._proc is not None:
            worker._proc.kill()
    lambda_runtime.kill_workers(ended)
    return len(ended)


def sparing_the_busy(kill: Callable[[list[Any]], None]) -> Callable[[list[Any]], None]:
    """Let calls in flight finish with the old code and settings when the function changes."""

    def kill_workers(workers: list[Any]) -> None:
        idle = []
        for worker in workers:
            if isinstance(worker, PythonWorker) and worker.in_use:
                worker.retired = True
            else:
                idle.append(worker)
        kill(idle)

    return kill_workers


def watch_idle_workers() -> None:
    while True:
        time.sleep(min(5.0, IDLE_SECONDS / 2))
        reap_idle_workers()


Answer = tuple[int, dict[str, str], bytes]


def with_request_limits(handle: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    """Refuse requests above Lambda's payload limits before anything runs."""

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        if method == "POST" and path.endswith("/invocations"):
            asynchronous = headers.get("x-amz-invocation-type") == "Event"
            limit = ASYNCHRONOUS_REQUEST_BYTES if asynchronous else SYNCHRONOUS_REQUEST_BYTES
            if len(body) > limit:
                kind = "Event" if asynchronous else "RequestResponse"
                message = f"{len(body)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
                if not asynchronous:
                    message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
                return responses.error_response_json(  # type: ignore[no-any-return]
                    "RequestEntityTooLargeException", message, 413
                )
        return await handle(method, path, headers, body, query_params)

    return handle_request


def install() -> None:
    """Run Python functions on this module's workers."""
    other_runtimes = lambda_runtime._worker_class_for
    lambda_runtime._worker_class_for = lambda config: (
        PythonWorker if str(config.get("Runtime", "")).startswith("python") else other_runtimes(config)
    )
    lambda_runtime.reap_idle_workers = reap_idle_workers
    lambda_runtime.kill_workers = sparing_the_busy(lambda_runtime.kill_workers)
    lambda_svc._execute_function_warm = execute_warm
    lambda_svc.handle_request = with_request_limits(lambda_svc.handle_request)
    threading.Thread(target=watch_idle_workers, name="idle-workers", daemon=True).start()
    threading.Thread(target=WATCH.run, name="memory-of-workers", daemon=True).start()
