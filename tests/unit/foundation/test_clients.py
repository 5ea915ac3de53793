"""The SDK's clients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders

from foundation.aws import clients
from foundation.aws.clients import invoking_client, service_client
from row_batches.run import wiring


class _Raw:
    def stream(self, **_: object) -> list[bytes]:
        return [b"{}"]


@pytest.mark.parametrize(
    "make_client", [lambda: service_client("dynamodb"), lambda: invoking_client("dynamodb", 10, 1)]
)
def test_every_call_sends_the_same_user_agent_that_names_the_product(
    make_client: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    for cached in (clients._session, clients._service_client):
        cached.cache_clear()
    sent: list[str] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        agent = request.headers["User-Agent"]
        sent.append(agent.decode() if isinstance(agent, bytes) else agent)
        return AWSResponse(request.url, 200, HTTPHeaders(), _Raw())

    client = make_client()
    client.meta.events.register("before-send.dynamodb.*", answer)
    client.list_tables()

    assert [agent.startswith(clients.USER_AGENT) for agent in sent] == [True]
    assert clients.USER_AGENT.endswith(" batch-processor")


def test_adapters_of_a_service_share_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    assert service_client("dynamodb") is service_client("dynamodb")
    assert service_client("dynamodb") is not service_client("dynamodb", attempts=2)


def test_threads_that_ask_for_the_first_client_at_once_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients._service_client.cache_clear()
    begin = Barrier(8)

    def ask(_: int) -> object:
        begin.wait()
        return service_client("dynamodb")

    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(id, threads.map(ask, range(8))))) == 1


def test_clients_that_most_runs_do_not_need_are_made_at_their_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(clients, "service_client", lambda service, **_: made.append(service))

    for factory in (wiring.dead_letters, wiring.outputs):
        factory.__wrapped__("name")
    wiring.redrives.__wrapped__()

    assert made == []
