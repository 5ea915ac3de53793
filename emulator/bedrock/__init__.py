"""Bedrock of the local AWS: batch inference jobs that run, a model that answers, and faults on request.

MiniStack keeps the API's front and its stores. See `control` for how a test asks for faults.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app
from ministack.services import bedrock

from emulator.bedrock import jobs, permissions, runtime
from emulator.bedrock.control import with_controls

Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Any]]


def creating_jobs(handle: Handler) -> Handler:
    """Pass the request's headers to CreateModelInvocationJob, because MiniStack does not."""

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Any:
        if method == "POST" and path == "/model-invocation-job":
            return jobs.create(headers, body)
        return await handle(method, path, headers, body, query_params)

    return handle_request


def install() -> None:
    """Replace batch inference and the mock model of MiniStack in this process."""
    permissions.install()
    runtime.install()
    bedrock.handle_request = creating_jobs(bedrock.handle_request)
    bedrock._get_model_invocation_job = jobs.get
    bedrock._list_model_invocation_jobs = jobs.list_jobs
    bedrock._stop_model_invocation_job = jobs.stop
    app.app = with_controls(app.app)
