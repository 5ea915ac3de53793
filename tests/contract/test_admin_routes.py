"""The routes of the admin API against those that API Gateway serves."""

from __future__ import annotations

import re

from bedrock_batches.api.routes import ROUTES
from tests.support.terraform_files import REPOSITORY

MODULE = REPOSITORY / "terraform" / "modules" / "admin_api"


def test_api_gateway_serves_exactly_the_routes_of_the_registry() -> None:
    served = set(re.findall(r'"((?:GET|POST|PUT|DELETE) /[^"]+)"', (MODULE / "main.tf").read_text(encoding="utf-8")))
    differing = served ^ {route.key() for route in ROUTES}
    assert not differing, f"these are in terraform/modules/admin_api or in api/routes.py alone: {sorted(differing)}"
