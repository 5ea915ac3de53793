"""The admin API as the end-to-end tests call it."""

from __future__ import annotations

import time
from typing import Any

import boto3

from tests.support.deployment import Deployment
from tools import admin_api


class AdminApi(admin_api.AdminApi):
    """Requests to the deployment's API as the given session; without one, unsigned."""

    def __init__(self, deployment: Deployment, session: boto3.Session | None) -> None:
        super().__init__(deployment.outputs["admin_api_url"], deployment.outputs["region"], session)

    def create(self, config: dict[str, Any]) -> dict[str, Any]:
        """The job that was created, also where the API answered before it was; else the answer."""
        status, answer = self.request("POST", "/admin/bedrock/batch", {"config": config})
        assert status in {200, 202}, answer
        return answer if "jobId" not in answer else self.job(answer["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        status, answer = self.request("GET", f"/admin/bedrock/batch/{job_id}")
        assert status == 200, answer
        return answer

    def wait(self, job_id: str, timeout_seconds: float = 180) -> dict[str, Any]:
        """The job as soon as its status is not InProgress."""
        deadline = time.monotonic() + timeout_seconds
        while (job := self.job(job_id))["status"] == "InProgress":
            assert time.monotonic() < deadline, job
            time.sleep(0.3)
        return job
