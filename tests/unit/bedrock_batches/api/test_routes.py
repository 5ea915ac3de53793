"""The registry of routes: everything a route means stands in its class."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from bedrock_batches.api.admin_http import admin_app
from bedrock_batches.api.routes import ROUTES, Route, openapi_document


def no_services() -> Any:
    raise AssertionError("not needed")


def test_every_route_is_served_once_and_documented() -> None:
    document = openapi_document(admin_app(no_services, no_services))
    documented = {
        f"{method.upper()} {path}": operation["summary"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert documented == {route.key(): route.doc for route in ROUTES if route.in_document}
    assert Counter(route.key() for route in ROUTES).most_common(1)[0][1] == 1


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_a_route_has_all_its_parts(route: type[Route]) -> None:
    missing = [name for name in ("method", "path", "doc", "answers", "handle") if not hasattr(route, name)]
    assert not missing, f"{route.__name__} lacks {missing}"
    assert re.fullmatch(r"(/[a-z.]+|/\{jobId\})+", route.path)
