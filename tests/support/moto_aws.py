"""AWS in this process, by moto."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

# Every test has sessions of its own, which would each parse the services' descriptions again.
load_once = cache(JSONFileLoader().load_file)


@contextmanager
def moto_aws(region: str = "us-east-1") -> Iterator[None]:
    """Take one request at a time: moto checks a condition and writes in two steps, between which threads interleave."""
    one_at_a_time, process = threading.RLock(), BotocoreStubber.process_request

    def process_alone(self: BotocoreStubber, request: Any) -> Any:
        with one_at_a_time:
            return process(self, request)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", region)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.setattr(BotocoreStubber, "process_request", process_alone)
        patch.setattr(JSONFileLoader, "load_file", lambda self, path: load_once(path))
        with mock_aws():
            yield
