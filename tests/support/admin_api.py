"""The admin API as the end-to-end tests call it."""

from __future__ import annotations

import time
import uuid
from typing import Any

import boto3

from batch_processor_client import admin_api
from tests.support.deployment import Deployment


class AdminApi(admin_api.AdminApi):
    """Requests to the deployment's API as the given session; without one, unsigned."""

    def __init__(self, deployment: Deployment, session: boto3.Session | None) -> None:
        super().__init__(deployment.outputs["admin_api_url"], deployment.outputs["region"], session)
        self._waits = deployment.waits

    def ask(self, config: dict[str, Any], path: str = "/admin/bedrock/batch") -> tuple[int, dict[str, Any]]:
        """The answer to a creation or an estimate. One that takes long is asked for again, under its key: the function
        says so with 202, or API Gateway with 503 when a first call on a busy machine takes longer than its 29 seconds.
        """
        key, deadline = {"Idempotency-Key": str(uuid.uuid4())}, time.monotonic() + 300
        while (answered := self.request("POST", path, {"config": config}, key))[0] in (202, 503):
            assert time.monotonic() < deadline, answered
        return answered

    def create(self, config: dict[str, Any]) -> dict[str, Any]:
        """The job that was created; else the answer."""
        status, answer = self.ask(config)
        assert status == 200, answer
        return answer if "jobId" not in answer else self.job(answer["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        status, answer = self.request("GET", f"/admin/bedrock/batch/{job_id}")
        assert status == 200, answer
        return answer

    def wait(self, job_id: str, timeout_seconds: float = 0) -> dict[str, Any]:
        """The job as soon as its status is not InProgress; it may take as long as the environment's jobs, or longer."""
        deadline = time.monotonic() + max(timeout_seconds, self._waits.job)
        while (job := self.job(job_id))["status"] == "InProgress":
            assert time.monotonic() < deadline, job
            time.sleep(self._waits.poll)
        return job
