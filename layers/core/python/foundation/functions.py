"""Memory, time-out and storage of the functions, from each capability's ``functions.json``. Terraform reads it too."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pydantic import ConfigDict, TypeAdapter

from foundation.data_files import read_data_file
from foundation.lazy_model import LazyModel


class FunctionSize(LazyModel):
    """Resources of a function, each with its reason. ``duckdb_memory_mb`` is DuckDB's share of its memory, or 0."""

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
        """Memory in GB, as Lambda bills GB-seconds: 1 GB is 1,024 MB."""
        return self.memory_mb / 1024


@cache
def function_sizes(package: str) -> Mapping[str, FunctionSize]:
    """The functions of a capability, by the name of their folder; ``package`` is the capability's Python package."""
    text = read_data_file(package, "functions.json")
    return MappingProxyType(TypeAdapter(dict[str, FunctionSize]).validate_json(text))
