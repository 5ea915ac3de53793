"""boto3 clients. The SDK itself finds endpoints, region and credentials (``AWS_ENDPOINT_URL`` among them)."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

USER_AGENT = f"Boto3/{boto3.__version__} batch-processor"
"""A constant: botocore builds its own long user agent again for every call, a sixth of the CPU time of a small one."""


@cache
def _session() -> boto3.Session:
    return boto3.Session()


def service_client(service: str, connections: int = 10, *, read_timeout_seconds: int = 60, attempts: int = 5) -> Any:
    """A client that tries up to five times with backoff, and gives up on a silent connection after a minute."""
    config = Config(
        user_agent=USER_AGENT,
        connect_timeout=5,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    return _session().client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal here


def invoking_client(service: str, read_timeout_seconds: int, connections: int) -> Any:
    """A client that tries once, because the row's retry policy decides. TCP keep-alive keeps long waits connected."""
    config = Config(
        user_agent=USER_AGENT,
        connect_timeout=5,
        read_timeout=read_timeout_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )
    return _session().client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal here
