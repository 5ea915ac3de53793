"""The Python of the API's page, run as it stands there against the API on a port of this machine."""

from __future__ import annotations

import re
from typing import Any

from bedrock_batches.api.admin_http import admin_app
from bedrock_batches.request.models import model_table
from tests.support.bedrock_jobs import jobs_world, violations
from tests.support.http_api import served
from tests.support.lake import REPOSITORY


def test_the_python_sample_gets_and_posts() -> None:
    page = (REPOSITORY / "docs" / "reference" / "admin-api.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    given: dict[str, Any] = {}
    exec(compile(sample, "admin-api.md", "exec"), given)
    with jobs_world(violations(120)) as world, served(admin_app(world.admin, model_table)) as url:
        assert given["call"](f"{url}/admin/bedrock/batch/jobs", "us-east-1") == {"jobs": [], "nextCursor": None}
        estimate = given["call"](f"{url}/admin/bedrock/batch/estimate", "us-east-1", "POST", {"config": {}})
    assert estimate["violationCount"] == 120
