"""The console as its command serves it, and the browser that tests open it with."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from batch_processor_client.console.server import serve
from batch_processor_client.deployment import Deployment

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium on this machine: apt-get install -y chromium"
)


@contextmanager
def served_console(deployment: Deployment) -> Iterator[str]:
    """The address that the command prints, while the console is served on it."""
    servers: Queue[uvicorn.Server] = Queue()
    addresses: Queue[str] = Queue()

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.put(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn, "Server", Server)
        serving = threading.Thread(target=serve, args=(deployment, addresses.put))
        serving.start()
        yield addresses.get()
        servers.get().should_exit = True
        serving.join()


@contextmanager
def chromium_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
