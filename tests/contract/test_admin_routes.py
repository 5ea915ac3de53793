"""What Terraform takes from the classes of the admin API: each route is served, each of its permissions is granted."""

from __future__ import annotations

import re

import pytest

from bedrock_batches.api.routes import ROUTES, Route
from foundation.registry import registry
from tests.support.terraform_files import BEDROCK_BATCHES, local_value, plain
from tools.contract import contract


def test_every_route_of_the_registry_is_handed_to_terraform() -> None:
    assert [route["key"] for route in contract()["routes"]] == [route.key() for route in ROUTES]


def test_a_route_without_a_part_is_refused_at_import_and_the_part_is_named() -> None:
    class Half(Route):
        method = "GET"
        path = "/admin/half"

    with pytest.raises(TypeError, match="Half lacks doc, answers, handle"):
        registry(Route, *ROUTES, Half)


def test_terraform_knows_every_resource_that_a_route_names() -> None:
    resources = str(local_value(BEDROCK_BATCHES / "policies.tf", "route_resources"))
    known = set(re.findall(r"'?(\w+)'?: \{'Resource'", resources))
    functions = set(plain(local_value(BEDROCK_BATCHES / "functions.tf", "environments")))
    named = {permission.resource for route in ROUTES for permission in route.permissions}
    assert named <= known | functions, f"add to route_resources in policies.tf: {sorted(named - known - functions)}"
    assert known <= named, f"no route names these any more: {sorted(known - named)}"


def test_every_action_of_a_route_is_a_single_action() -> None:
    for route in ROUTES:
        for permission in route.permissions:
            assert re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", permission.action), route.key()
