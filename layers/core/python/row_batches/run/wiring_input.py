"""The adapters of ``validate_input``, made at their first use as in ``wiring``."""

# ruff: noqa: PLC0415 (imports at first use: importing a handler costs no client)

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from row_batches.files.s3 import S3InputObjects, S3WorkObjects
    from row_batches.run.stepfunctions import StepFunctionsStates
    from row_batches.targets.dynamodb import DynamoTargets
    from row_batches.targets.lambda_ import LambdaFunctionSettings
    from row_batches.targets.stepfunctions import StateMachineSettings


def _client(service: str) -> Any:
    from foundation.aws.clients import service_client

    return service_client(service)


@cache
def inputs() -> S3InputObjects:
    from row_batches.files.s3 import S3InputObjects

    return S3InputObjects(_client("s3"))


@cache
def work(bucket: str) -> S3WorkObjects:
    from row_batches.files.s3 import S3WorkObjects

    return S3WorkObjects(_client("s3"), bucket)


@cache
def targets(table: str) -> DynamoTargets:
    from row_batches.targets.dynamodb import DynamoTargets

    return DynamoTargets(_client("dynamodb"), table)


@cache
def functions() -> LambdaFunctionSettings:
    from row_batches.targets.lambda_ import LambdaFunctionSettings

    return LambdaFunctionSettings(lambda: _client("lambda"))


@cache
def machines() -> StateMachineSettings:
    from row_batches.targets.stepfunctions import StateMachineSettings

    return StateMachineSettings(lambda: _client("stepfunctions"))


@cache
def executions() -> StepFunctionsStates:
    from row_batches.run.stepfunctions import StepFunctionsStates

    return StepFunctionsStates(lambda: _client("stepfunctions"))
