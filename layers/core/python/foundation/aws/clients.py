"""boto3 clients. The SDK itself finds endpoints, region and credentials (``AWS_ENDPOINT_URL`` among them)."""

from __future__ import annotations

from functools import cache
from threading import RLock
from typing import Any

import boto3
from botocore.config import Config

USER_AGENT = f"Boto3/{boto3.__version__} batch-processor"
"""A constant: botocore builds its own long user agent again for every call, a sixth of the CPU time of a small one."""
MOST_CONNECTIONS = 32
"""At least the number of threads that use a client at once: 30 rows in flight, or the aggregator's readers."""


_creating = RLock()
"""A session does not let two threads make clients at once, but the clients can be shared
(https://docs.aws.amazon.com/boto3/latest/guide/clients.html#caveats)."""


@cache
def _session() -> boto3.Session:
    return boto3.Session()


def _create(service: str, config: Config) -> Any:
    with _creating:
        return _session().client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal


def service_client(
    service: str, *, read_timeout_seconds: int = 60, attempts: int = 5, validates_parameters: bool = True
) -> Any:
    """A client that tries up to five times with backoff, and gives up on a silent connection after a minute.

    The adapters of one service share it, because making a client takes as long as some calls.
    """
    with _creating:  # so that threads that ask first at the same time share it, too
        return _service_client(service, read_timeout_seconds, attempts, validates_parameters)


@cache
def _service_client(service: str, read_timeout_seconds: int, attempts: int, validates_parameters: bool) -> Any:
    config = Config(
        user_agent=USER_AGENT,
        connect_timeout=5,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=MOST_CONNECTIONS,
        parameter_validation=validates_parameters,
    )
    return _create(service, config)


def invoking_client(service: str, read_timeout_seconds: int, connections: int = MOST_CONNECTIONS) -> Any:
    """A client that tries once, because the row's retry policy decides. TCP keep-alive keeps long waits connected."""
    config = Config(
        user_agent=USER_AGENT,
        connect_timeout=5,
        read_timeout=read_timeout_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )
    return _create(service, config)
