"""The server of tools as a process, over both of its transports. Nothing here needs AWS."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mcp import Client
from mcp.types import ListToolsResult

from batch_processor_client import mcp_server
from tests.support.mcp_servers import ask_directly, http_server, stdio_server, talk_over_http, talk_over_stdio
from tests.unit.client.fakes import OUTPUTS

HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})


INITIALISE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


async def tools_of(client: Client) -> ListToolsResult:
    return await client.list_tools()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs") / "outputs.json"
    path.write_text(json.dumps(OUTPUTS))
    return path


@pytest.fixture(scope="module")
def address(outputs: Path) -> Iterator[str]:
    with http_server(outputs) as shown:
        yield shown


def test_an_agent_that_starts_the_command_gets_the_tools_and_what_each_changes(outputs: Path) -> None:
    tools = talk_over_stdio(outputs, tools_of).tools
    assert [tool.name for tool in tools] == [tool.name for tool in mcp_server.TOOLS]
    assert {tool.name for tool in tools if tool.annotations.destructive_hint} == {"stop"}
    assert {"estimate", "follow", "status"} <= {tool.name for tool in tools if tool.annotations.read_only_hint}


def test_ctrl_c_ends_the_command_while_it_waits_for_standard_input(outputs: Path) -> None:
    with stdio_server(outputs) as process:
        assert ask_directly(process, INITIALISE)["result"]["serverInfo"]["name"] == "batch-processor"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


def test_the_same_tools_are_served_over_http_on_loopback(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    tools = talk_over_http(address, tools_of).tools
    assert [tool.name for tool in tools] == [tool.name for tool in mcp_server.TOOLS]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/mcp", {}, 404),
        ("/wrong/mcp", {}, 404),
        (None, {"Host": "rebound.example.com"}, 421),
        (None, {"Host": "127.0.0.1.example.com"}, 421),
        (None, {"Origin": "https://example.com"}, 403),
        (None, {"Origin": "http://127.0.0.1:1"}, 403),
        (None, {"Origin": "null"}, 403),
    ],
)
def test_who_has_not_the_address_and_every_web_page_is_refused(
    address: str, path: str | None, headers: dict[str, str], status: int
) -> None:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc)
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    connection.request("POST", parts.path if path is None else path, HELLO, sent)
    answered = connection.getresponse()
    answered.read()
    connection.close()
    assert answered.status == status
