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
