"""The command ``batch-processor mcp`` as a process, and the SDK's own client that talks to it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.support.local_aws import REPOSITORY

Conversation = Callable[[Client], Awaitable[Any]]
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(str(REPOSITORY / folder) for folder in ("client", "layers/core/python")),
    "AWS_EC2_METADATA_DISABLED": "true",
}


def _command(outputs: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "batch_processor_client", "--outputs", str(outputs), "mcp", *options]


def talk_over_stdio(outputs: Path, conversation: Conversation, *options: str) -> Any:
    """What a conversation gives with a server that the client starts and ends."""
    command, *arguments = _command(outputs, *options)
    server = StdioServerParameters(command=command, args=arguments, env=ENVIRONMENT)

    async def talk() -> Any:
        async with Client(stdio_client(server)) as client:
            return await conversation(client)

    return asyncio.run(talk())


@contextmanager
def stdio_server(outputs: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A server that reads its standard input, which stays open."""
    process = subprocess.Popen(
        _command(outputs, *options),
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask_directly(process: subprocess.Popen[str], message: dict[str, Any]) -> dict[str, Any]:
    """The answer to a message, as the transport has it: a line each."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    return dict(json.loads(process.stdout.readline()))


def talk_over_http(address: str, conversation: Conversation) -> Any:
    """What a conversation gives with the server of an address."""

    async def talk() -> Any:
        async with Client(address) as client:
            return await conversation(client)

    return asyncio.run(talk())


@contextmanager
def http_server(outputs: Path, *options: str) -> Iterator[str]:
    """The address of a server on a free port."""
    process = subprocess.Popen(
        _command(outputs, "--http", "--port", "0", *options),
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield process.stderr.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
