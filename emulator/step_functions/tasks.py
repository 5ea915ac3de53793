"""Task states: service integrations with their results and error names (dg/integrate-services.html)."""

import base64
import json
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack import app
from ministack.core.responses import get_account_id, get_region
from ministack.services import lambda_svc, s3, stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions.limits import to_json
from emulator.step_functions.running import RunningExecution
from emulator.step_functions.threads import Control

OPTIMIZED = "arn:aws:states:::"
SERVICE_NAMES = {
    "lambda": "AWSLambda",
    "states": "AWSStepFunctions",
    "dynamodb": "AmazonDynamoDBv2",
    "events": "AmazonCloudWatchEvents",
    "sns": "AmazonSNS",
    "sqs": "AmazonSQS",
    "aws-sdk:dynamodb": "DynamoDb",
    "aws-sdk:eventbridge": "EventBridge",
    "aws-sdk:s3": "S3",
    "aws-sdk:sfn": "Sfn",
    "aws-sdk:sns": "Sns",
    "aws-sdk:sqs": "Sqs",
}
"""The names of services in causes, by resource type."""


@dataclass(frozen=True)
class Task:
    """One attempt of a Task state."""

    execution: RunningExecution
    control: Control
    resource: str
    arguments: Any
    token: str | None = None
    submitted: Callable[[dict[str, Any]], None] = lambda _answer: None
    """Called when an integration that waits has started the work that it waits for."""

    @property
    def kind(self) -> tuple[str, str]:
        """The resource type and resource in the history, such as `("lambda", "invoke")`."""
        if not self.resource.startswith(OPTIMIZED):
            return "lambda" if ":function:" in self.resource else "activity", self.resource
        service, _, action = self.resource[len(OPTIMIZED) :].partition(":")
        if service == "aws-sdk":
            name, _, action = action.partition(":")
            service = f"aws-sdk:{name}"
        return service, action

    @property
    def limit_name(self) -> str:
        """The task's name in a DataLimitExceeded error (recording: data_limit.json)."""
        return self.kind[0] if self.resource.startswith(OPTIMIZED) else self.resource

    def argument(self, name: str) -> Any:
        if not isinstance(self.arguments, dict) or self.arguments.get(name) is None:
            raise StateError("States.Runtime", f"The task {self.resource} needs the argument {name}.")
        return self.arguments[name]

    def only(self, *names: str) -> None:
        """Refuse arguments that the local AWS would otherwise ignore.

        Raises:
            StateError: States.Runtime.
        """
        unknown = sorted(set(self.arguments) - set(names)) if isinstance(self.arguments, dict) else ["(no object)"]
        if unknown:
            raise StateError("States.Runtime", f"{self.resource}: the local AWS does not support {', '.join(unknown)}.")

    def require(self, action: str, resource: str, error: str) -> None:
        """Check the permission of the machine's role.

        Raises:
            StateError: `error`, with a message that names the action and the resource.
        """
        denial = self.execution.role.denial(action, resource)
        if denial:
            status = 403 if action.startswith(("lambda:", "s3:", "sns:", "sqs:")) else 400
            raise self.refused(error, denial, status, "AccessDeniedException")

    def refused(self, error: str, text: str, status: int, code: str) -> StateError:
        """The error `error` of a call that the service answered with `status` and `code`."""
        return refused(self.kind[0], error, text, status, code)

    def run(self) -> Any:
        """Do the task.

        Raises:
            StateError: what went wrong, by the name that Retry and Catch match.
        """
        if not self.resource.startswith(OPTIMIZED) and ":function:" in self.resource:
            return invoke_function_by_arn(self)
        integration = INTEGRATIONS.get(self.resource[len(OPTIMIZED) :])
        if integration is not None:
            return integration(self)
        return _emulated(self)


def refused(resource_type: str, error: str, text: str, status: int, code: str) -> StateError:
    """The error `error` of a call that a service answered with `status` and `code`.

    An optimised integration names the code in its cause, one of `aws-sdk` does not (recordings: start_execution_2.json,
    lambda_errors.json, service_errors_and_s3.json).
    """
    service, request = SERVICE_NAMES.get(resource_type, resource_type), uuid.uuid4()
    if not resource_type.startswith("aws-sdk:"):
        where = f"Service: {service}; Status Code: {status}; Error Code: {code}; Request ID: {request}; Proxy: null"
    else:
        where = f"Service: {service}, Status Code: {status}, Request ID: {request}"
        if service == "S3":
            where += f", Extended Request ID: {base64.b64encode(request.bytes * 3).decode()}"
    return StateError(error, f"{text} ({where})")


# --- Lambda: dg/connect-lambda.html


def invoke_function(task: Task) -> dict[str, Any]:
    """`lambda:invoke`: the result holds the function's answer under `Payload` (recording: lambda_invoke.json)."""
    task.only("FunctionName", "Payload", "Qualifier")
    name, qualifier = task.argument("FunctionName"), task.arguments.get("Qualifier")
    payload = task.arguments.get("Payload")
    if isinstance(payload, str):
        try:
            payload = json.loads(payload)
        except ValueError as error:
            code, text = "InvalidRequestContentException", f"Could not parse request body into json: {error}"
            raise task.refused(f"Lambda.{code}", text, 400, code) from None
    answer, version = _call_function(
        task, f"{name}:{qualifier}" if qualifier else name, {} if payload is None else payload, to_json, OPTIMIZED
    )
    request_id = str(uuid.uuid4())
    headers = {
        "Connection": "keep-alive",
        "Content-Length": str(len(json.dumps(answer))),
        "Content-Type": "application/json",
        "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        "X-Amz-Executed-Version": version,
        "X-Amzn-Trace-Id": f"root=1-{int(time.time()):x}-{uuid.uuid4().hex[:24]};sampled=0",
        "x-amzn-Remapped-Content-Length": "0",
        "x-amzn-RequestId": request_id,
    }
    return {
        "ExecutedVersion": version,
        "Payload": answer,
        "SdkHttpMetadata": {
            "AllHttpHeaders": {header: [value] for header, value in headers.items()},
            "HttpHeaders": headers,
            "HttpStatusCode": 200,
        },
        "SdkResponseMetadata": {"RequestId": request_id},
        "StatusCode": 200,
    }


def invoke_function_and_wait(task: Task) -> Any:
    """`lambda:invoke.waitForTaskToken`: the result is the output that SendTaskSuccess reports, not the function's.

    Source: dg/connect-to-resource.html#connect-wait-token

    Raises:
        StateError: the error of the function, or the one that SendTaskFailure reports.
    """
    ended = threading.Event()
    pending: dict[str, Any] = {"event": ended, "error": None, "machine": task.execution.machine_arn}
    stepfunctions._task_tokens[task.token] = pending
    try:
        task.submitted(invoke_function(task))
        with task.control.stopping(ended.set):
            ended.wait()
        task.control.check()
    finally:
        stepfunctions._task_tokens.pop(task.token, None)
    if pending["error"]:
        raise StateError(pending["error"]["Error"], pending["error"]["Cause"])
    return json.loads(pending["result"])


def invoke_function_by_arn(task: Task) -> Any:
    """A function's ARN as Resource. The state's input is the event, and the function's answer is the result."""
    return _call_function(task, task.resource, task.arguments, json.dumps, "")[0]


def _call_function(
    task: Task, reference: str, event: Any, write_cause: Callable[[Any], str], prefix: str
) -> tuple[Any, str]:
    resolved = stepfunctions._resolve_lambda_function_ref(reference, optimized=bool(prefix))
    arn = resolved if resolved.startswith("arn:") else _function_arn(resolved)
    task.require("lambda:InvokeFunction", arn, "Lambda.AWSLambdaException")
    function, config, _name = lambda_svc._get_func_record_for_ref(resolved)
    if not function or not config:
        named = arn if arn.count(":") > 6 else f"{arn}:$LATEST"
        code = "ResourceNotFoundException"
        raise task.refused(f"Lambda.{code}", f"Function not found: {named}", 404, code)
    record = lambda_svc._execution_record_for_config(function, config)
    result = lambda_svc._execute_function_with_config_scope(record, event)
    if result.get("throttle"):
        code, text = "TooManyRequestsException", result.get("body", {}).get("message", "Rate Exceeded.")
        raise task.refused(f"Lambda.{code}", text, 429, code)
    body = result.get("body")
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except ValueError:
            body = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if result.get("error"):
        kind = body.get("errorType") if isinstance(body, dict) else None
        raise StateError(kind or "Lambda.Unknown", write_cause(body))
    return body, config.get("Version") or "$LATEST"


def _function_arn(reference: str) -> str:
    return f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{reference}"


# --- S3: dg/supported-services-awssdk.html


PUT_HEADERS = {
    "ContentType": "content-type",
    "IfNoneMatch": "if-none-match",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SseKmsKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "Tagging": "x-amz-tagging",
}


def put_object(task: Task) -> dict[str, Any]:
    """`aws-sdk:s3:putObject`: writes Body as JSON, a text with its quotes.

    Recording: service_errors_and_s3.json.
    """
    task.only("Bucket", "Key", "Body", *PUT_HEADERS)
    bucket, key = task.argument("Bucket"), task.argument("Key")
    task.require("s3:PutObject", f"arn:aws:s3:::{bucket}/{key}", "S3.S3Exception")
    headers = {"content-type": "binary/octet-stream"}
    headers |= {header: str(task.arguments[name]) for name, header in PUT_HEADERS.items() if name in task.arguments}
    body = to_json(task.arguments["Body"]).encode() if "Body" in task.arguments else b""
    answered = call_s3("PUT", bucket, key, headers, body)
    return {
        "ChecksumCRC32": base64.b64encode(zlib.crc32(body).to_bytes(4)).decode(),
        "ChecksumType": "FULL_OBJECT",
        "ETag": answered.get("etag", ""),
        "ServerSideEncryption": "AES256",
    } | ({"VersionId": answered["x-amz-version-id"]} if "x-amz-version-id" in answered else {})


def delete_object(task: Task) -> dict[str, Any]:
    task.only("Bucket", "Key")
    bucket, key = task.argument("Bucket"), task.argument("Key")
    task.require("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{key}", "S3.S3Exception")
    answered = call_s3("DELETE", bucket, key, {}, b"")
    result: dict[str, Any] = {}
    if "x-amz-version-id" in answered:
        result["VersionId"] = answered["x-amz-version-id"]
    if "x-amz-delete-marker" in answered:
        result["DeleteMarker"] = answered["x-amz-delete-marker"] == "true"
    return result


def get_object(task: Task) -> dict[str, Any]:
    """`aws-sdk:s3:getObject`: returns the object as text in Body (recording: service_errors_and_s3.json)."""
    task.only("Bucket", "Key")
    bucket, key = task.argument("Bucket"), task.argument("Key")
    task.require("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", "S3.S3Exception")
    status, headers, body = s3._get_object(bucket, key, {"authorization": "internal"}, {})
    _raise_s3(status, body)
    found = {name.lower(): value for name, value in headers.items()}
    modified = datetime.strptime(found["last-modified"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    return {
        "AcceptRanges": "bytes",
        "Body": body.decode() if isinstance(body, bytes) else body,
        "ContentLength": len(body),
        "ContentType": found.get("content-type", "binary/octet-stream"),
        "ETag": found.get("etag", ""),
        "LastModified": modified.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Metadata": {name[11:]: value for name, value in found.items() if name.startswith("x-amz-meta-")},
        "ServerSideEncryption": "AES256",
    }


def call_s3(method: str, bucket: str, key: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
    """Make an S3 request inside the process, so that it has notifications and versions. Returns the answer's headers.

    Raises:
        StateError: `S3.<code>Exception`.
    """
    region = get_region()
    signed = {
        "host": f"s3.{region}.amazonaws.com",
        "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{region}/s3/aws4_request",
        "content-length": str(len(body)),
        **headers,
    }
    status, answered, text = app.call_service_handler_sync(
        app.SERVICE_HANDLERS["s3"], method, f"/{bucket}/{key}", signed, body, {}
    )
    _raise_s3(status, text)
    return {name.lower(): value for name, value in (answered or {}).items()}


def _raise_s3(status: int, body: Any) -> None:
    if status < 400:
        return
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)

    def element(name: str, default: str) -> str:
        start, end = text.find(f"<{name}>"), text.find(f"</{name}>")
        return text[start + len(name) + 2 : end] if 0 <= start < end else default

    code = element("Code", "S3")
    raise refused("aws-sdk:s3", f"S3.{code}Exception", element("Message", f"Status {status}"), status, code)


# --- Integrations that MiniStack does itself


def _emulated(task: Task) -> Any:
    """Pass other integrations to MiniStack, if the role has the permission.

    Raises:
        StateError: States.Runtime for an integration whose permission the local AWS does not know.
    """
    service, action = task.kind
    arguments = task.arguments if isinstance(task.arguments, dict) else {}
    resource = _resource_of(service, arguments)
    if resource is None and app.AUTH and task.resource.startswith(OPTIMIZED):
        raise StateError("States.Runtime", f"{task.resource} is not supported by the local AWS with IAM enforced.")
    if resource is not None:
        prefix = service.split(":")[-1]
        name = action.removesuffix(".waitForTaskToken")
        task.require(f"{prefix}:{name[0].upper()}{name[1:]}", resource, f"{prefix.capitalize()}.AccessDeniedException")
    if task.token is not None:
        task.submitted({})
        return stepfunctions._invoke_with_callback(task.resource, task.arguments, task.token, {})
    return stepfunctions._invoke_resource(task.resource, task.arguments)


def _resource_of(service: str, arguments: dict[str, Any]) -> str | None:
    scope = f"{get_region()}:{get_account_id()}"
    if service.endswith("dynamodb"):
        return f"arn:aws:dynamodb:{scope}:table/{str(arguments.get('TableName', '')).rpartition('/')[2]}"
    if service.endswith("sns"):
        return arguments.get("TopicArn")
    if service.endswith("sqs"):
        return f"arn:aws:sqs:{scope}:{str(arguments.get('QueueUrl', '')).rpartition('/')[2]}"
    if service.endswith("events"):
        return f"arn:aws:events:{scope}:event-bus/default"
    return None


INTEGRATIONS: dict[str, Callable[[Task], Any]] = {
    "lambda:invoke": invoke_function,
    "lambda:invoke.waitForTaskToken": invoke_function_and_wait,
    "aws-sdk:s3:putObject": put_object,
    "aws-sdk:s3:deleteObject": delete_object,
    "aws-sdk:s3:getObject": get_object,
}
