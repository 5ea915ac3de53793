"""The models that jobs can run on, from the table ``foundation/models.json``, which Terraform reads too.

Terraform decides which of them a deployment offers, by Region and end of life, and hands on the ids, each with what the
deployment changes. Where AWS says nothing about a property, it is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import ConfigDict, Field

from foundation.data_files import read_data_file
from foundation.lazy_model import LazyModel


class Model(LazyModel):
    """A model, or an inference profile. Prices are on demand, in USD for 1,000 tokens; batch inference costs half."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    input_usd_per_1k_tokens: Decimal = Field(ge=0)
    output_usd_per_1k_tokens: Decimal = Field(ge=0)
    as_of: date
    """The day on which the prices were read."""
    batch: bool = True
    """Whether batch inference supports it."""
    batch_regions: tuple[str, ...] | None = None
    """The Regions with batch inference for it; None: not known, or those of the inference profile."""
    minimum_records: int = Field(100, ge=1)
    """The fewest records of a job. The default is the default quota of every model."""
    structured_output: bool | None = None
    """Whether it accepts a JSON schema for its answer, on demand and in batch."""
    flex_tier: bool | None = None
    """Whether on-demand calls can ask for the Flex service tier."""
    end_of_life: date | None = None
    """The day on which AWS ends it, if it is announced."""


Models = Mapping[str, Model]
"""Models by the model id or inference profile id that a job names."""


@cache
def model_table() -> Models:
    """Every model of ``models.json``."""
    return MappingProxyType({model_id: Model.model_validate(entry) for model_id, entry in _entries().items()})


def offered_models(changes: Mapping[str, Mapping[str, Any]]) -> Models:
    """The models of a deployment: the ids that it offers, each with what is different from the table.

    Raises ``pydantic.ValidationError`` for an id that the table lacks when its prices are not given.
    """
    table = _entries()
    merged = {model_id: {**table.get(model_id, {}), **change} for model_id, change in changes.items()}
    return MappingProxyType({model_id: Model.model_validate(entry) for model_id, entry in merged.items()})


def sources_of_models() -> dict[str, str]:
    """The AWS page for each property of the table, with the day on which it was read."""
    return dict(_file()["sources"])


def _entries() -> dict[str, dict[str, Any]]:
    return dict(_file()["models"])


def _file() -> Any:
    return orjson.loads(read_data_file("foundation", "models.json"))
