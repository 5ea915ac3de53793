"""The admin API as its users call it: signed requests."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.support.deployment import Deployment


class AdminApi:
    """Requests as the given session; without one, unsigned."""

    def __init__(self, deployment: Deployment, session: boto3.Session | None) -> None:
        self._url = str(deployment.outputs["admin_api_url"]).rstrip("/")
        self._session = session
        self._region = str(deployment.outputs["region"])

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON body."""
        url = urlsplit(f"{self._url}{path}")
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(
            method, url.geturl(), data=data, headers={"Content-Type": "application/json", **(headers or {})}
        )
        request.headers["Host"] = url.netloc
        if self._session is not None:
            credentials = self._session.get_credentials()
            SigV4Auth(credentials, "execute-api", self._region).add_auth(request)
        # Names under localhost need not resolve: loopback is called by address, with the name as Host.
        host = url.hostname or ""
        netloc = f"127.0.0.1:{url.port}" if host.endswith("localhost") else url.netloc
        raw = urllib.request.Request(
            url._replace(netloc=netloc).geturl(), data=data, headers=dict(request.headers.items()), method=method
        )
        try:
            with urllib.request.urlopen(raw, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read() or b"{}")

    def create(self, config: dict[str, Any], **headers: str) -> dict[str, Any]:
        """The job that was created; waits where the API answered before it was."""
        status, answer = self("POST", "/admin/bedrock/batch", {"config": config}, headers)
        assert status in {200, 202}, answer
        return answer if "jobId" not in answer else self.job(answer["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        status, answer = self("GET", f"/admin/bedrock/batch/{job_id}")
        assert status == 200, answer
        return answer

    def wait(self, job_id: str, timeout_seconds: float = 180) -> dict[str, Any]:
        """The job as soon as its status is not InProgress."""
        deadline = time.monotonic() + timeout_seconds
        while (job := self.job(job_id))["status"] == "InProgress":
            assert time.monotonic() < deadline, job
            time.sleep(0.3)
        return job
