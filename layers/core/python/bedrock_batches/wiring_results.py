"""Puts the use cases of results and their adapters together; see ``foundation.invocation``."""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bedrock_batches.settings import BedrockBatchResultSettings, BedrockJobEventsSettings, BedrockSyncSettings
from bedrock_batches.wiring import batch_inference, claims, jobs_table, lake, leases, violations
from foundation import invocation
from foundation.aws import factories

if TYPE_CHECKING:
    from bedrock_batches.results.reconcile import ReconcileServices
    from bedrock_batches.results.s3 import S3ResultObjects
    from bedrock_batches.results.settle import SettleServices
    from bedrock_batches.results.take_results import ResultServices
    from foundation.aws.lambda_ import LambdaEventCaller


@cache
def result_objects(bucket: str) -> S3ResultObjects:
    from bedrock_batches.results.s3 import S3ResultObjects
    from foundation.aws.clients import service_client

    return S3ResultObjects(service_client("s3"), bucket)


@cache
def caller(function_name: str) -> LambdaEventCaller:
    from foundation.aws.clients import service_client
    from foundation.aws.lambda_ import LambdaEventCaller

    return LambdaEventCaller(service_client("lambda"), function_name)


def result_services(settings: BedrockBatchResultSettings, context: invocation.LambdaContext) -> ResultServices:
    from bedrock_batches.results.take_results import ResultServices

    return ResultServices(
        jobs=jobs_table(settings.batch_jobs_table),
        claims=claims(settings.batch_jobs_table),
        results=result_objects(settings.data_bucket),
        objects=factories.objects(settings.data_bucket),
        violations=violations(settings.violations_table),
        again=caller(context.function_name),
        reconciler=caller(settings.job_events_function),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
        owner=invocation.call_owner(context),
    )


def settle_services(settings: BedrockSyncSettings, context: invocation.LambdaContext) -> SettleServices:
    from bedrock_batches.results.settle import SettleServices
    from bedrock_batches.sync.merge import SyncServices

    sync = SyncServices(
        lake=lake(settings),
        contents=violations(settings.violations_table),
        leases=leases(settings.batch_jobs_table),
        objects=factories.objects(settings.data_bucket),
        metrics=factories.metrics(settings.metrics_namespace),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
        owner=invocation.call_owner(context),
    )
    jobs = jobs_table(settings.batch_jobs_table)
    return SettleServices(jobs=jobs, claims=claims(settings.batch_jobs_table), lake=lake(settings), sync=sync)


def reconcile_services(settings: BedrockJobEventsSettings, context: invocation.LambdaContext) -> ReconcileServices:
    from bedrock_batches.results.reconcile import ReconcileServices

    return ReconcileServices(
        jobs=jobs_table(settings.batch_jobs_table),
        claims=claims(settings.batch_jobs_table),
        batch=batch_inference(settings.job_role_arn),
        results=result_objects(settings.data_bucket),
        objects=factories.objects(settings.data_bucket),
        leases=leases(settings.batch_jobs_table),
        taker=caller(settings.batch_result_function),
        processor=caller(settings.batch_processor_function),
        notifier=factories.notifier(settings.notification_topic_arn),
        clock=invocation.clock,
        deadline=invocation.InvocationDeadline(context),
        owner=invocation.call_owner(context),
        quotas=settings.quotas,
        metrics=factories.metrics(settings.metrics_namespace),
    )
