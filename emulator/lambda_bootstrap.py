"""The program that each Python function worker runs: imports the handler, then serves one invocation after another.

Frames on standard input and on the original standard output are four bytes of length and a JSON document. What the
function prints, to either stream, goes to standard error; a line with the request's id closes each invocation's part.

* Error objects: https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
* Context object: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
* Logging: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import logging
import os
import queue
import site
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

INVOKE_DEPTH_VARIABLE = "_MINISTACK_INVOKE_DEPTH"
INVOKE_DEPTH_HEADER = "X-Ministack-Invoke-Depth"
shown_folders: list[tuple[str, str]] = []
"""Folders of code and layers, and the names they have on Lambda: `/var/task` and `/opt`."""
BUILT_IN_LOG_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id"}

Handler = Callable[[Any, Any], Any]


class InitialisationError(Exception):
    """Raised when the handler cannot be loaded; `report` is the error object that Lambda returns."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__(report["errorMessage"])
        self.report = report


class LambdaContext:
    """The context object, a handler's second argument."""

    def __init__(self, request_id: str, function_arn: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = function_arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = None
        self.identity = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's time-out."""
        return max(0, int((self._deadline - time.time()) * 1000))


def read_frame(stream: BinaryIO) -> Any:
    """The next document, or `None` at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    return json.loads(stream.read(struct.unpack(">I", head)[0]))


def write_frame(descriptor: int, body: bytes) -> None:
    remaining = memoryview(struct.pack(">I", len(body)) + body)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def error_report(error: BaseException, request_id: str) -> dict[str, Any]:
    """The error object: the exception's own class name, its text, and the frames of the function."""
    own_file = __file__
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != own_file and "importlib" not in frame.filename
    ]
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": [as_on_lambda(line) for line in traceback.format_list(frames)],
    }


def as_on_lambda(line: str) -> str:
    for folder, name in shown_folders:
        line = line.replace(folder, name)
    return line


def load_handler(module_name: str, function_name: str) -> Handler:
    """Import the handler as the managed runtime does, with the same error names."""
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise InitialisationError(
            {"errorMessage": message, "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}
        ) from error
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        raise InitialisationError(
            {"errorMessage": message, "errorType": "Runtime.UserCodeSyntaxError", "requestId": "", "stackTrace": []}
        ) from error
    except Exception as error:
        raise InitialisationError(error_report(error, "")) from error
    handler = getattr(module, function_name, None)
    if handler is None:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise InitialisationError(
            {"errorMessage": message, "errorType": "Runtime.HandlerNotFound", "requestId": "", "stackTrace": []}
        )
    return handler  # type: ignore[no-any-return]


def order_import_path(code_folder: str, layer_folders: list[str], runtime_folder: str) -> None:
    """Order the import path: the function's code, then its layers, then the runtime's packages."""
    sys.path.append(runtime_folder)
    packages: list[str] = [code_folder]
    for folder in layer_folders:
        packages.append(str(Path(folder, "python")))
        packages.extend(str(found) for found in sorted(Path(folder, "python", "lib").glob("python3*/site-packages")))
    packages = [folder for folder in packages if Path(folder).is_dir()]
    before = list(sys.path)
    for folder in packages[1:]:
        site.addsitedir(folder)
    added_by_links = [folder for folder in sys.path if folder not in before and folder not in packages]
    sys.path[:] = packages + added_by_links + before


class LogFormatter(logging.Formatter):
    """Records of the `logging` module in the function's log format, Text or JSON."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json
        self.request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        if not self.as_json:
            text = f"[{record.levelname}]\t{moment}\t{self.request_id}\t{record.getMessage()}\n"
            return text + (self.formatException(record.exc_info) if record.exc_info else "")
        line: dict[str, Any] = {
            "timestamp": moment[:-5] + "Z",
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["stackTrace"] = traceback.format_tb(record.exc_info[2])
            line["errorType"] = type(record.exc_info[1]).__name__
            line["errorMessage"] = str(record.exc_info[1])
        line.update((key, value) for key, value in vars(record).items() if key not in BUILT_IN_LOG_FIELDS)
        line["requestId"] = self.request_id
        return json.dumps(line, default=str, ensure_ascii=False) + "\n"


class LogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    terminator = ""


def install_logging() -> LogFormatter:
    formatter = LogFormatter(os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON")
    handler = LogHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    if formatter.as_json:
        level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
        root.setLevel({"TRACE": "DEBUG", "FATAL": "CRITICAL", "WARN": "WARNING"}.get(level, level))
    return formatter


class DepthCarrier(importlib.abc.MetaPathFinder):
    """Lets nested calls carry the depth that the recursive-loop guard counts, once the function imports botocore.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != "botocore.handlers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                module.BUILTIN_HANDLERS.append(("before-call", add_depth))

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def add_depth(params: dict[str, Any], **_: object) -> None:
    depth = os.environ.get(INVOKE_DEPTH_VARIABLE)
    if depth:
        params["headers"].setdefault(INVOKE_DEPTH_HEADER, depth)


def invoke(handler: Handler, request: dict[str, Any]) -> tuple[bool, bytes]:
    """Run the handler; returns whether it succeeded, and the JSON of its answer or its error."""
    for name, value in request["environment"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    context = LambdaContext(request["request_id"], request["function_arn"], request["deadline"])
    try:
        answer = handler(request["event"], context)
    except Exception as error:
        report = error_report(error, request["request_id"])
        log_error(report)
        return False, json.dumps(report).encode()
    try:
        return True, json.dumps(answer, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        report = {
            "errorMessage": f"Unable to marshal response: {error}",
            "errorType": "Runtime.MarshalError",
            "requestId": request["request_id"],
            "stackTrace": [],
        }
        log_error(report)
        return False, json.dumps(report).encode()


def log_error(report: dict[str, Any]) -> None:
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(json.dumps({"timestamp": moment, "log_level": "ERROR", **report}))
    else:
        print(
            f"[ERROR] {report['errorType']}: {report['errorMessage']}\nTraceback (most recent call last):\n"
            + "".join(report["stackTrace"]),
            end="",
        )


def receive(stream: BinaryIO, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass requests to the handler. The worker ends when the server is gone, even if a handler is still running."""
    while (request := read_frame(stream)) is not None:
        requests.put(request)
    os._exit(0)


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=False, write_through=False)  # type: ignore[union-attr]
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    source = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=receive, args=(source, requests), daemon=True).start()

    start = requests.get()
    order_import_path(start["code_folder"], start["layer_folders"], start["runtime_folder"])
    shown_folders.extend(
        [(start["code_folder"], "/var/task"), *((folder, "/opt") for folder in start["layer_folders"])]
    )
    formatter = install_logging()
    sys.meta_path.insert(0, DepthCarrier())
    try:
        handler = load_handler(start["module"], start["handler"])
    except InitialisationError as error:
        log_error(error.report)
        sys.stdout.flush()
        write_frame(answers, b"E" + json.dumps(error.report).encode())
        os._exit(1)
    sys.stdout.flush()
    write_frame(answers, b"R")
    while True:
        request = requests.get()
        formatter.request_id = request["request_id"]
        succeeded, body = invoke(handler, request)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.write(2, f"\0{request['request_id']}\n".encode())
        write_frame(answers, (b"R" if succeeded else b"E") + body)


if __name__ == "__main__":
    main()
