"""Connects the use cases of row batches with their adapters; see ``foundation.aws.factories``."""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from foundation.aws.factories import objects
from foundation.invocation import LambdaContext, call_owner, clock

if TYPE_CHECKING:
    from foundation.aws.leases import DynamoDbLeases
    from row_batches.files.outputs_s3 import S3OutputObjects
    from row_batches.run.answer_cache import AnswerCache
    from row_batches.run.batch import Batches
    from row_batches.run.ownership import Ownership
    from row_batches.run.runs import BestEffort
    from row_batches.run.runs_dynamodb import DynamoDbRuns
    from row_batches.run.sqs import SqsDeadLetters
    from row_batches.run.starts import Starts
    from row_batches.run.stepfunctions import StepFunctionsExecutions, StepFunctionsRedrives
    from row_batches.run.xray import XraySegments
    from row_batches.targets.ports import TargetInvoker


@cache
def batches(bucket: str, results_table: str | None = None, answers_table: str | None = None) -> Batches:
    """The batches. ``results_table`` is needed for reading rows, ``answers_table`` for running rows."""
    from foundation.aws.clients import service_client
    from row_batches.rows.stores import RowStores
    from row_batches.run.batch import Batches

    table = None if results_table is None else lambda: (service_client("dynamodb"), results_table)
    cache = None if answers_table is None else _answers(answers_table)
    segments = None if answers_table is None else _segments()
    stores = RowStores(objects(bucket), clock, table)
    return Batches(objects(bucket), clock, stores, cache, segments, partial(outputs, bucket))


def _answers(table: str) -> AnswerCache:
    from foundation.aws.clients import service_client
    from row_batches.run.cache_dynamodb import DynamoDbAnswers

    return DynamoDbAnswers(service_client("dynamodb"), table)


@cache
def _segments() -> XraySegments:
    from foundation.aws.clients import service_client
    from row_batches.run.xray import XraySegments

    # Impatient: no row waits for its trace.
    return XraySegments(lambda: service_client("xray", read_timeout_seconds=2, attempts=1), clock)


@cache
def dead_letters(queue: str) -> SqsDeadLetters:
    from foundation.aws.clients import service_client
    from row_batches.run.sqs import SqsDeadLetters

    # Short timeouts, because letters are sent after the rows are written, and a worker has seconds left for both.
    return SqsDeadLetters(lambda: service_client("sqs", read_timeout_seconds=5, attempts=2), queue)


@cache
def outputs(results_bucket: str) -> S3OutputObjects:
    from foundation.aws.clients import service_client
    from row_batches.files.outputs_s3 import S3OutputObjects

    return S3OutputObjects(lambda: service_client("s3"), results_bucket)


@cache
def runs(table: str) -> DynamoDbRuns:
    from foundation.aws.clients import service_client
    from row_batches.run.runs_dynamodb import DynamoDbRuns

    return DynamoDbRuns(service_client("dynamodb"), table)


@cache
def leases(table: str) -> DynamoDbLeases:
    from foundation.aws.clients import service_client
    from foundation.aws.leases import DynamoDbLeases

    return DynamoDbLeases(service_client("dynamodb"), table, clock)


@cache
def executions(machine_arn: str, finish_machine_arn: str) -> StepFunctionsExecutions:
    from foundation.aws.clients import service_client
    from row_batches.run.stepfunctions import StepFunctionsExecutions

    return StepFunctionsExecutions(lambda: service_client("stepfunctions"), machine_arn, finish_machine_arn)


@cache
def redrives() -> StepFunctionsRedrives:
    from foundation.aws.clients import service_client
    from row_batches.run.stepfunctions import StepFunctionsRedrives

    return StepFunctionsRedrives(lambda: service_client("stepfunctions"))


def notes(table: str) -> BestEffort:
    from row_batches.run.runs import BestEffort

    return BestEffort(runs(table))


@cache
def starts(table: str) -> Starts:
    from row_batches.run.starts import Starts

    return Starts(leases(table), runs(table), clock)


def ownership(table: str, context: LambdaContext) -> Ownership:
    from row_batches.run.ownership import Ownership

    return Ownership(leases(table), runs(table), call_owner(context), clock)


@cache
def invoker() -> TargetInvoker:
    from foundation.aws.clients import invoking_client
    from row_batches.targets.kinds import KindInvoker

    return KindInvoker(invoking_client)
