"""Creates the adapters that both capabilities use, each at its first use, so importing a handler creates no client.

The factories import boto3 for the same reason: it takes longer than the rest of a cold start.
"""

# ruff: noqa: PLC0415 (imports at first use are the point of this module)

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from foundation.invocation import clock

if TYPE_CHECKING:
    from foundation.aws.s3 import S3ObjectStore
    from foundation.aws.sns import SnsNotifier
    from foundation.metrics import EmbeddedMetrics


@cache
def objects(bucket: str) -> S3ObjectStore:
    from foundation.aws.clients import service_client
    from foundation.aws.s3 import S3ObjectStore

    return S3ObjectStore(service_client("s3"), bucket)


@cache
def notifier(topic_arn: str) -> SnsNotifier:
    from foundation.aws.clients import service_client
    from foundation.aws.sns import SnsNotifier

    return SnsNotifier(service_client("sns"), topic_arn)


@cache
def metrics(namespace: str) -> EmbeddedMetrics:
    from foundation.metrics import EmbeddedMetrics

    return EmbeddedMetrics(namespace, clock)
