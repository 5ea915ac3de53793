"""The console in a real browser, from its address to a download, with screenshots under ``build/console``."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from batch_processor_client.console.server import serve
from row_batches.run.runs import Counts
from tests.integration.console.conftest import World

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).resolve().parents[3] / "build" / "console"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
ENDED = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 12})}
TRIED_ATTACKS = "() => document.querySelectorAll('main img, main script, main b').length"
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium on this machine: apt-get install -y chromium"
)


@pytest.fixture
def address(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address that the command prints, while the console is served on it."""
    servers: Queue[uvicorn.Server] = Queue()
    addresses: Queue[str] = Queue()

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.put(self)

    monkeypatch.setattr(uvicorn, "Server", Server)
    serving = threading.Thread(target=serve, args=(world.console.deployment, addresses.put))
    serving.start()
    yield addresses.get()
    servers.get().should_exit = True
    serving.join()


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot of the whole page, wide and narrow, light and dark; nothing is wider than the window."""
    for width, size in (("1280", WIDE), ("390", NARROW)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert not page.evaluate(TOO_WIDE), f"{name} is wider than {width} px"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def test_a_run_is_watched_stopped_changed_and_downloaded(world: World, address: str, chromium: Browser) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = chromium.new_page()
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("console", lambda message: said.append(message.text))

    page.goto(address)
    assert "token" not in page.url
    assert address.partition("token=")[2] not in page.evaluate("() => document.cookie + location.href")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    shoot(page, "runs")

    page.get_by_role("link", name="day-run").click()
    expect(page.locator("[data-text=done]")).to_have_text("5 of 12")
    world.table.count("day-run", Counts(succeeded=3))
    expect(page.locator("[data-text=done]")).to_have_text("8 of 12")  # without a click
    page.get_by_label("Rows a minute").fill("30")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The limits are changed")
    assert page.evaluate(TRIED_ATTACKS) == 0
    shoot(page, "run-going-on")
    world.states.descriptions = [ENDED]
    expect(page.get_by_role("link", name="Output (CSV)")).to_be_visible()  # the page follows the run to its end

    page.goto(re.sub("/day-run.*", "/night-run", page.url))
    expect(page.get_by_role("heading", name="Why rows failed")).to_be_visible()
    assert page.evaluate(TRIED_ATTACKS) == 0
    shoot(page, "run-ended")
    with page.expect_download() as download:
        page.get_by_role("link", name="Output (CSV)").click()
    assert download.value.suggested_filename == "night-run-output.csv"
    assert Path(download.value.path()).read_bytes() == b"id,text\r\n1,one\r\n"

    page.get_by_role("link", name="Targets").click()
    shoot(page, "targets")
    page.get_by_role("link", name="sentiment").click()
    page.get_by_label("Row, as JSON").fill('{"text": "Great!"}')
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("heading", name="What came of it")).to_be_visible()
    assert page.evaluate(TRIED_ATTACKS) == 0
    shoot(page, "target-tried")
    assert said == []


def test_a_page_of_another_site_reaches_nothing(address: str, chromium: Browser) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(address)
    other = context.new_page()
    other.goto("data:text/html,<p>elsewhere")
    answers: list[Any] = []
    other.on("response", lambda answer: answers.append(answer.status))
    target = page.url.rpartition("/")[0]
    other.evaluate(
        """async (target) => {
            await fetch(target + "/runs", {mode: "no-cors", credentials: "include"}).catch(() => null);
            await fetch(target + "/runs/day-run/stop", {method: "POST", mode: "no-cors"}).catch(() => null);
        }""",
        target,
    )
    assert set(answers) <= {403}
