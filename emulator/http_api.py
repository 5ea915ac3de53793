"""HTTP APIs: permission to invoke the function, the answers of the API itself, its time limit and its access log.

* https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
* https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-lambda.html
* https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
* Limits: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app
from ministack.core import responses
from ministack.services import apigateway, cloudwatch_logs, lambda_svc

from emulator import event_targets, lambda_logs

logger = logging.getLogger(__name__)

INTEGRATION_TIMEOUT_SECONDS = 30.0
VARIABLE = re.compile(r"\$context\.([A-Za-z.]+)")

Answer = tuple[int, dict[str, str], bytes]

_function_failed: contextvars.ContextVar[list[bool] | None] = contextvars.ContextVar("function_failed", default=None)


def own_answer(status: int, message: str) -> Answer:
    """A response of the API itself, not of the function."""
    return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()


def noticing_errors(convert: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Remember that the function of this request failed. The caller must not see its error."""

    def lambda_execute_result_to_api_proxy_response(result: dict[str, Any]) -> Any:
        failed = _function_failed.get()
        if failed is not None and result.get("error"):
            failed.append(True)
        return convert(result)

    return lambda_execute_result_to_api_proxy_response


def permitted_invocation(invoke: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    """Answer 500 if the function fails or does not allow the API, and 503 if it takes too long."""

    async def invoke_lambda_proxy(
        integration: dict[str, Any],
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        route_key: str = "$default",
        path_params: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        function = apigateway._extract_lambda_ref_from_integration_uri(integration.get("integrationUri", ""))
        route_path = route_key.partition(" ")[2] or "/$default"
        scope = f"{responses.get_region()}:{responses.get_account_id()}"
        source = f"arn:aws:execute-api:{scope}:{api_id}/{stage}/{method}{route_path}"
        if app.AUTH and not event_targets.function_allows(function, "apigateway.amazonaws.com", source):
            logger.warning("The function %s does not let %s in", function, source)
            return own_answer(500, "Internal Server Error")
        failed: list[bool] = []
        token = _function_failed.set(failed)
        limit = integration.get("timeoutInMillis", INTEGRATION_TIMEOUT_SECONDS * 1000) / 1000
        try:
            answer = await asyncio.wait_for(
                invoke(
                    integration, api_id, stage, path, method, headers, body, query_params, route_key, path_params,
                    **options,
                ),
                min(limit, INTEGRATION_TIMEOUT_SECONDS),
            )  # fmt: skip
        except TimeoutError:
            return own_answer(503, "Service Unavailable")
        finally:
            _function_failed.reset(token)
        return own_answer(500, "Internal Server Error") if failed else answer

    return invoke_lambda_proxy


def needing_a_signature(enforce: Callable[..., Answer | None]) -> Callable[..., Answer | None]:
    """Refuse requests without a signature on a route with IAM authorisation, also with a bearer token or password.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html
    """

    def _enforce_execute_api(
        api_id: str,
        stage: str,
        method: str,
        execute_path: str,
        headers: dict[str, str],
        query_params: dict[str, Any],
        *arguments: Any,
        **options: Any,
    ) -> Answer | None:
        signed = headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 ") or "X-Amz-Signature" in query_params
        if app.AUTH and not signed and apigateway.find_api_scope(api_id) is not None:
            kind = app._execute_api_authorization_type(api_id, stage, method, execute_path)
            if kind == "AWS_IAM":
                return own_answer(403, "Forbidden")
        return enforce(api_id, stage, method, execute_path, headers, query_params, *arguments, **options)

    return _enforce_execute_api


def answering_as_http_api(handle: Callable[..., Awaitable[Answer | None]]) -> Callable[..., Awaitable[Answer | None]]:
    """Word denials as HTTP APIs do, and write each call to the stage's access log."""

    async def handle_execute_api_request(
        host: str,
        path: str,
        method: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        **options: Any,
    ) -> Answer | None:
        begun = time.time()
        answer = await handle(host, path, method, headers, body, query_params, **options)
        parsed = app._parse_execute_api_url(host, path)
        scope = apigateway.find_api_scope(parsed[0]) if parsed and answer is not None else None
        if answer is None or parsed is None or scope is None:
            return answer
        api_id, stage, rest = parsed
        stage, rest = app._resolve_stage_and_path(api_id, stage, rest)
        if answer[0] in (401, 403) and "apigw-requestid" not in answer[1]:
            # Only responses of the authorisation lack the API's request id.
            answer = own_answer(403, "Forbidden")
        with apigateway.request_scope(*scope):
            settings = (apigateway._stages.get(api_id, {}).get(stage) or {}).get("accessLogSettings") or {}
            if settings.get("destinationArn") and settings.get("format"):
                route = apigateway._match_route(api_id, method, "/" + rest.lstrip("/")) or {}
                values = log_values(api_id, stage, rest, method, headers, query_params, answer, route, begun)
                write_access(settings["destinationArn"], filled(settings["format"], values))
        return answer

    return handle_execute_api_request


def log_values(
    api_id: str,
    stage: str,
    path: str,
    method: str,
    headers: dict[str, str],
    query_params: dict[str, Any],
    answer: Answer,
    route: dict[str, Any],
    begun: float,
) -> dict[str, Any]:
    """The `$context` variables of a call."""
    status, answered, body = answer
    by_name = {name.lower(): value for name, value in answered.items()}
    caller = apigateway._iam_caller_identity_v2(headers, query_params) if status not in (401, 403) else None
    refused = (status >= 400 and not route) or status in (401, 403)
    return {
        "accountId": responses.get_account_id(),
        "apiId": api_id,
        "authorizer.error": "-",
        "domainName": headers.get("host", "").partition(":")[0],
        "error.message": json.loads(body).get("message", "-") if refused and body else "-",
        "httpMethod": method,
        "identity.sourceIp": "127.0.0.1",
        "identity.user": (caller or {}).get("userId"),
        "identity.userAgent": headers.get("user-agent"),
        "identity.userArn": (caller or {}).get("userArn"),
        "integrationLatency": "-" if refused else int((time.time() - begun) * 1000),
        "path": path,
        "protocol": "HTTP/1.1",
        "requestId": by_name.get("apigw-requestid") or responses.new_uuid(),
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(begun)),
        "requestTimeEpoch": int(begun * 1000),
        "responseLatency": int((time.time() - begun) * 1000),
        "responseLength": len(body),
        "routeKey": route.get("routeKey"),
        "stage": stage,
        "status": status,
    }


def filled(template: str, values: dict[str, Any]) -> str:
    """The log line, with `-` for missing values. Values are escaped as JSON text."""

    def value(found: re.Match[str]) -> str:
        given = values.get(found[1].rstrip("."))
        return json.dumps(str(given), ensure_ascii=False)[1:-1] if given not in (None, "") else "-"

    return VARIABLE.sub(value, template)


def write_access(destination_arn: str, line: str) -> None:
    """Append the line to the log group."""
    name = destination_arn.partition(":log-group:")[2].removesuffix(":*")
    group = cloudwatch_logs._log_groups.get(name)
    if group is None:
        logger.warning("The access log group %s does not exist", name)
        return
    now = int(time.time() * 1000)
    stream_name = time.strftime("%Y-%m-%d-%H-%M", time.gmtime())
    stream = group["streams"].setdefault(stream_name, lambda_logs.new_stream(now))
    cloudwatch_logs._append_log_events(stream, [{"timestamp": now, "message": line, "ingestionTime": now}])
    cloudwatch_logs._fanout_to_subscription_filters(name, stream_name, [{"timestamp": now, "message": line}])


def without_payload_format(
    create: Callable[[str, dict[str, Any]], Any],
) -> Callable[[str, dict[str, Any]], Any]:
    """Only authorizers that are functions have a payload format, so a JWT authorizer reads back without one.

    https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid-authorizers.html
    """

    def create_authorizer(api_id: str, data: dict[str, Any]) -> Any:
        if data.get("authorizerType") == "JWT":
            data = {"authorizerPayloadFormatVersion": None, **data}
        return create(api_id, data)

    return create_authorizer


def with_every_field(identity: Callable[..., Any]) -> Callable[..., Any]:
    """AWS's event names every field of the IAM caller; a caller without a Cognito identity has null for it.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads (the same payload, version 2.0)
    """

    def caller_identity(headers: dict[str, str], query_params: dict[str, Any]) -> dict[str, Any] | None:
        found = identity(headers, query_params)
        return None if found is None else {"cognitoIdentity": None, **found}

    return caller_identity


def install() -> None:
    """Make HTTP APIs answer and log as on AWS."""
    apigateway._create_authorizer = without_payload_format(apigateway._create_authorizer)
    lambda_svc.lambda_execute_result_to_api_proxy_response = noticing_errors(
        lambda_svc.lambda_execute_result_to_api_proxy_response
    )
    apigateway._iam_caller_identity_v2 = with_every_field(apigateway._iam_caller_identity_v2)
    apigateway._invoke_lambda_proxy = permitted_invocation(apigateway._invoke_lambda_proxy)
    app._enforce_execute_api = needing_a_signature(app._enforce_execute_api)
    app._handle_execute_api_request = answering_as_http_api(app._handle_execute_api_request)
