"""Puts the use cases of results and their adapters together; see ``runtime.wiring``."""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from batch_processor.runtime import wiring
from batch_processor.runtime.settings_bedrock import BedrockBatchResultSettings, BedrockJobEventsSettings
from batch_processor.runtime.wiring_bedrock import batch_inference, call_owner, jobs_table, leases, violations

if TYPE_CHECKING:
    from batch_processor.adapters.bedrock.claims import DynamoDbClaims
    from batch_processor.adapters.bedrock.function_calls import LambdaEventCaller
    from batch_processor.adapters.bedrock.result_objects import S3ResultObjects
    from batch_processor.app.bedrock.reconcile import ReconcileServices
    from batch_processor.app.bedrock.take_results import ResultServices


@cache
def claims(table: str) -> DynamoDbClaims:
    from batch_processor.adapters.bedrock.claims import DynamoDbClaims
    from batch_processor.adapters.clients import service_client

    return DynamoDbClaims(service_client("dynamodb"), table)


@cache
def result_objects(bucket: str) -> S3ResultObjects:
    from batch_processor.adapters.bedrock.result_objects import S3ResultObjects
    from batch_processor.adapters.clients import service_client

    return S3ResultObjects(service_client("s3"), bucket)


@cache
def caller(function_name: str) -> LambdaEventCaller:
    from batch_processor.adapters.bedrock.function_calls import LambdaEventCaller
    from batch_processor.adapters.clients import service_client

    return LambdaEventCaller(service_client("lambda"), function_name)


def result_services(settings: BedrockBatchResultSettings, context: wiring.LambdaContext) -> ResultServices:
    from batch_processor.app.bedrock.take_results import ResultServices

    return ResultServices(
        jobs=jobs_table(settings.batch_jobs_table),
        claims=claims(settings.batch_jobs_table),
        results=result_objects(settings.data_bucket),
        objects=wiring.objects(settings.data_bucket),
        violations=violations(settings.violations_table),
        again=caller(context.function_name),
        reconciler=caller(settings.job_events_function),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
        owner=call_owner(context),
    )


def reconcile_services(settings: BedrockJobEventsSettings, context: wiring.LambdaContext) -> ReconcileServices:
    from batch_processor.app.bedrock.reconcile import ReconcileServices

    return ReconcileServices(
        jobs=jobs_table(settings.batch_jobs_table),
        claims=claims(settings.batch_jobs_table),
        batch=batch_inference(settings.job_role_arn),
        results=result_objects(settings.data_bucket),
        objects=wiring.objects(settings.data_bucket),
        leases=leases(settings.batch_jobs_table),
        taker=caller(settings.batch_result_function),
        notifier=wiring.notifier(settings.notification_topic_arn),
        clock=wiring.clock,
        deadline=wiring.InvocationDeadline(context),
        owner=call_owner(context),
        quotas=settings.quotas,
    )
