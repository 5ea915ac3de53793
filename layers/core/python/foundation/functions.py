"""How large the functions are. Terraform deploys them from the same files, ``functions.json`` of each capability."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, TypeAdapter


class FunctionSize(BaseModel):
    """What a function is given, each with its reason; ``duckdb_memory_mb`` is DuckDB's share of its memory, or 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    memory_mb: int
    memory_reason: str
    timeout_seconds: int
    timeout_reason: str
    temporary_mb: int
    temporary_reason: str
    duckdb_memory_mb: int = 0

    @property
    def memory_gb(self) -> float:
        """As Lambda counts it for GB-seconds: 1,024 MB are a GB."""
        return self.memory_mb / 1024


@cache
def function_sizes(package: str) -> Mapping[str, FunctionSize]:
    """The functions of a capability, by the name of their folder; ``package`` is the capability's Python package."""
    text = files(package).joinpath("functions.json").read_bytes()
    return MappingProxyType(TypeAdapter(dict[str, FunctionSize]).validate_json(text))
