"""The adapters of ``validate_input``, made at their first use as in ``wiring``."""

# ruff: noqa: PLC0415 (imports at first use: importing a handler costs no client)

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch_processor.adapters.registry import DynamoTargets
    from batch_processor.adapters.s3_input import LambdaToolSettings, S3InputObjects, S3WorkObjects


@cache
def _client(service: str) -> Any:
    from batch_processor.adapters.clients import service_client

    return service_client(service)


@cache
def inputs() -> S3InputObjects:
    from batch_processor.adapters.s3_input import S3InputObjects

    return S3InputObjects(_client("s3"))


@cache
def work(bucket: str) -> S3WorkObjects:
    from batch_processor.adapters.s3_input import S3WorkObjects

    return S3WorkObjects(_client("s3"), bucket)


@cache
def targets(table: str) -> DynamoTargets:
    from batch_processor.adapters.registry import DynamoTargets

    return DynamoTargets(_client("dynamodb"), table)


@cache
def tools() -> LambdaToolSettings:
    from batch_processor.adapters.s3_input import LambdaToolSettings

    return LambdaToolSettings(lambda: _client("lambda"))
