"""The admin API of Bedrock batches, called with signed requests."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

TIMEOUT_SECONDS = 60
"""An HTTP API answers or fails within 30 seconds."""


class AdminApi:
    """Requests with the session's credentials; unsigned without one. ``url`` is Terraform's ``admin_api_url``."""

    def __init__(self, url: str, region: str, session: boto3.Session | None) -> None:
        self._url = url.rstrip("/")
        self._region = region
        self._session = session

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of the answer, refusals included.

        Raises NoCredentialsError if the session has no credentials, EndpointConnectionError if the API does not answer.
        """
        url = urlsplit(f"{self._url}{path}")
        data = None if body is None else json.dumps(body).encode()
        signed = AWSRequest(
            method, url.geturl(), data=data, headers={"Content-Type": "application/json", **(headers or {})}
        )
        signed.headers["Host"] = url.netloc
        credentials = self._session.get_credentials() if self._session else None
        if self._session is not None and credentials is None:
            raise NoCredentialsError
        if credentials is not None:
            SigV4Auth(credentials, "execute-api", self._region).add_auth(signed)
        # Names under localhost need not resolve: loopback is called by address, with the name as Host.
        local = (url.hostname or "").endswith("localhost")
        netloc = f"127.0.0.1:{url.port}" if local else url.netloc
        sent = urllib.request.Request(  # noqa: S310 (the URL is Terraform's output)
            url._replace(netloc=netloc).geturl(), data=data, headers=dict(signed.headers.items()), method=method
        )
        try:
            with urllib.request.urlopen(sent, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return answer.status, _body(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, _body(refused.read())
        except (OSError, HTTPException) as error:
            raise EndpointConnectionError(endpoint_url=self._url, error=error) from error


def _body(content: bytes) -> dict[str, Any]:
    """The JSON of an answer. One that is not a JSON object, such as a proxy's page, becomes its ``message``."""
    try:
        body = json.loads(content or b"{}")
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"message": content[:200].decode(errors="replace")}
