"""The settings of each function, one model each. A field's name in capitals is its environment variable.

A test compares the fields with what Terraform sets, both ways.
"""

import os
from typing import TypeVar

from pydantic import ConfigDict

from foundation.lazy_model import LazyModel


class FunctionSettings(LazyModel):
    """Settings that every function has."""

    model_config = ConfigDict(frozen=True)

    powertools_service_name: str
    powertools_log_level: str


S = TypeVar("S", bound=FunctionSettings)


_loaded: dict[type[FunctionSettings], FunctionSettings] = {}


def load(model: type[S]) -> S:
    """The settings from the environment, read once a process. Raises ``ValidationError`` naming missing variables."""
    if model not in _loaded:
        names = {name: name.upper() for name in model.model_fields}
        _loaded[model] = model.model_validate({n: os.environ[v] for n, v in names.items() if v in os.environ})
    settings = _loaded[model]
    assert isinstance(settings, model)
    return settings


def trace_id() -> str | None:
    """The id of this call's trace in X-Ray, from ``Root=1-5759e988-bd862e3fe1be46a994272793;…``; None without one.

    Lambda sets it for each call
    (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime).
    """
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    return header.partition(";")[0].removeprefix("Root=") or None
