"""An HTTP API's integration with a function, as WSGI: requests become events of payload format 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import http
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, make_server

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

CALLER = "arn:aws:iam::000000000000:user/operator"


class Context:
    aws_request_id = "request-1"
    function_name = "ventureos-bedrock-admin-api"


def event_of(
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    caller: str = CALLER,
) -> dict[str, Any]:
    """The event of a request that IAM authorised. A body that is no text comes in base64."""
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {**(headers or {})},
        "queryStringParameters": {**(query or {})},
        "requestContext": {
            "http": {"method": method, "path": path},
            "stage": "$default",
            "authorizer": {"iam": {"userArn": caller}},
        },
        "isBase64Encoded": False,
    }
    if body:
        try:
            event["body"] = body.decode()
        except UnicodeDecodeError:
            event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return event


def wsgi_app(app: APIGatewayHttpResolver) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The application that answers a request as API Gateway does with the function behind it."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        headers = {
            name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        event = event_of(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
            query=dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
            headers=headers,
            body=environ["wsgi.input"].read(length) if length else None,
        )
        response: dict[str, Any] = app.resolve(event, Context())  # type: ignore[arg-type]
        status = http.HTTPStatus(int(response["statusCode"]))
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
        return [str(response["body"]).encode()]

    return answer


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(app: APIGatewayHttpResolver) -> Iterator[str]:
    """The application on a free port of the loopback; its URL."""
    with make_server("127.0.0.1", 0, wsgi_app(app), handler_class=_Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
