"""Puts use cases and adapters together. Each factory runs at its first use: importing a handler costs no client.

boto3 is imported inside the factories for the same reason: it takes longer than all the rest of a cold start.
"""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from batch_processor.runtime import settings
from batch_processor.runtime.logging import start_invocation

if TYPE_CHECKING:
    from batch_processor.adapters.dead_letters import SqsDeadLetters
    from batch_processor.adapters.metrics import EmbeddedMetrics
    from batch_processor.adapters.notifier import SnsNotifier
    from batch_processor.adapters.object_store import S3ObjectStore
    from batch_processor.app.batch import Batches
    from batch_processor.app.ports import TargetInvoker

M_ARENA_MAX = -8
MOST_CONNECTIONS = 32
"""As many as threads use a client at once: 30 rows in flight, or the aggregator's readers."""


class LambdaContext(Protocol):
    """What Lambda gives a handler beside the event."""

    function_name: str
    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class InvocationDeadline:
    def __init__(self, context: LambdaContext) -> None:
        self._context = context

    def remaining_seconds(self) -> float:
        return self._context.get_remaining_time_in_millis() / 1000


def begin(model: type[settings.S], context: LambdaContext, **keys: Any) -> settings.S:
    """Settings of the function, and its log lines' keys for this invocation."""
    loaded = settings.load(model)
    start_invocation(
        loaded.powertools_service_name, loaded.powertools_log_level, request_id=context.aws_request_id, **keys
    )
    return loaded


def use_one_arena() -> None:
    """Keep the memory of a function with many reading threads flat. Called before its first thread starts.

    glibc gives each thread a heap of its own, which buffers that are freed elsewhere leave full of holes
    (https://man7.org/linux/man-pages/man3/mallopt.3.html, ``M_ARENA_MAX``). Other C libraries have no such setting.
    """
    import ctypes

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_ARENA_MAX, 1)


clock = SystemClock()


@cache
def objects(bucket: str) -> S3ObjectStore:
    from batch_processor.adapters.clients import service_client
    from batch_processor.adapters.object_store import S3ObjectStore

    return S3ObjectStore(service_client("s3", MOST_CONNECTIONS), bucket)


@cache
def batches(bucket: str) -> Batches:
    from batch_processor.app.batch import Batches

    return Batches(objects(bucket), clock)


@cache
def dead_letters(queue_url: str) -> SqsDeadLetters:
    from batch_processor.adapters.clients import service_client
    from batch_processor.adapters.dead_letters import SqsDeadLetters

    return SqsDeadLetters(service_client("sqs"), queue_url)


@cache
def notifier(topic_arn: str) -> SnsNotifier:
    from batch_processor.adapters.clients import service_client
    from batch_processor.adapters.notifier import SnsNotifier

    return SnsNotifier(service_client("sns"), topic_arn)


@cache
def metrics(namespace: str) -> EmbeddedMetrics:
    from batch_processor.adapters.metrics import EmbeddedMetrics

    return EmbeddedMetrics(namespace, clock)


@cache
def invoker() -> TargetInvoker:
    from batch_processor.adapters.clients import invoking_client
    from batch_processor.adapters.target_invokers import ArnInvoker, ExpressInvoker, LambdaInvoker

    return ArnInvoker(
        LambdaInvoker(lambda seconds: invoking_client("lambda", seconds, MOST_CONNECTIONS)),
        ExpressInvoker(lambda seconds: invoking_client("stepfunctions", seconds, MOST_CONNECTIONS)),
    )
