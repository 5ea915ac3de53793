"""The console in a real browser, from its address to a download, with screenshots under ``build/console``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect

from batch_processor_client.errors import ClientError
from batch_processor_client.workbench import Workbench
from row_batches.document.plan import Keys
from row_batches.run.runs import Counts
from tests.integration.console.conftest import IMAGE, World
from tests.integration.console.test_new_page import NAME, ROWS
from tests.integration.console.test_remap_page import finish
from tests.support.batches import EXECUTION
from tests.support.console import chromium_browser, needs_chromium, served_console
from tests.unit.client.fakes import refusal

SCREENSHOTS = Path(__file__).resolve().parents[3] / "build" / "console"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
ENDED = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 12})}
TRIED_ATTACKS = "() => document.querySelectorAll('main img, main script, main b').length"
TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return "";
    const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > width);
    const outside = wide.filter((one) => !one.closest(".wide, pre"));
    return "too wide: " + outside.map((one) => one.outerHTML.slice(0, 90)).join("; ");
}"""

pytestmark = needs_chromium


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """The address that the command prints, while the console is served on it."""
    with served_console(world.console.deployment) as address:
        yield address


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with chromium_browser() as browser:
        yield browser


def inspect(page: Page, name: str, heading: str) -> None:
    """Look at a page wide and narrow, light and dark: axe finds no fault, and nothing is wider than the window.

    It waits for the heading first: the page before it may still be in the window when a link was clicked.

    A screenshot of each is kept. axe looks at it wide and light, then narrow and dark: colours follow the scheme alone,
    and places the width alone.
    """
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    expect(page.locator("h1")).to_have_text(heading)
    page.wait_for_load_state()
    axe = Axe()
    for width, size, looked_at in (("1280", WIDE, "light"), ("390", NARROW, "dark")):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate(TOO_WIDE) == "", f"{name} at {width} px"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            if scheme == looked_at:
                found = axe.run(page)
                assert not found.violations_count, f"{name}, {width} px, {scheme}: {found.generate_report()}"
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def test_a_run_is_watched_stopped_changed_and_downloaded(world: World, address: str, chromium: Browser) -> None:
    page = chromium.new_page()
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("console", lambda message: said.append(message.text))

    page.goto(address)
    assert "token" not in page.url
    assert address.partition("token=")[2] not in page.evaluate("() => document.cookie + location.href")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    inspect(page, "runs", heading="Runs")

    page.get_by_role("link", name="day-run").click()
    expect(page.locator("[data-text=done]")).to_have_text("5 of 12")
    places = [place.bounding_box() for place in page.locator("main .card").all()]
    world.table.count("day-run", Counts(succeeded=3))
    expect(page.locator("[data-text=done]")).to_have_text("8 of 12")  # without a click
    expect(page.locator("[data-most=rate]")).to_contain_text("most")
    assert [place.bounding_box() for place in page.locator("main .card").all()] == places  # nothing moves
    page.get_by_label("Rows a minute").fill("30")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The limits are changed")
    assert page.evaluate(TRIED_ATTACKS) == 0
    inspect(page, "run-going-on", heading="day-run")
    world.objects.put(Keys("day-run").output, b"id,text\r\n1,one\r\n")
    world.states.descriptions = [ENDED]
    expect(page.get_by_role("link", name="Output (CSV)")).to_be_visible()  # the page follows the run to its end

    page.goto(re.sub("/day-run.*", "/night-run", page.url))
    expect(page.get_by_role("heading", name="Why rows failed")).to_be_visible()
    assert page.evaluate(TRIED_ATTACKS) == 0
    inspect(page, "run-ended", heading="night-run")
    with page.expect_download() as download:
        page.get_by_role("link", name="Output (CSV)").click()
    assert download.value.suggested_filename == "night-run-output.csv"
    assert Path(download.value.path()).read_bytes() == b"id,text\r\n1,one\r\n"

    page.get_by_role("link", name="Targets").click()
    inspect(page, "targets", heading="Targets")
    page.get_by_role("link", name="sentiment").click()
    page.get_by_label("Row, as JSON").fill('{"text": "Great!"}')
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    assert page.evaluate(TRIED_ATTACKS) == 0
    inspect(page, "target-tried", heading="sentiment")
    assert said == []


def test_a_run_is_put_together_from_a_file_that_is_dropped_to_its_start(
    world: World, address: str, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = chromium.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address.replace("/?", "/new?"))
    inspect(page, "new-empty", heading="New run")

    page.locator("[data-file]").set_input_files({"name": NAME, "mimeType": "text/csv", "buffer": ROWS.encode()})
    expect(page.get_by_role("term").filter(has_text="Encoding")).to_be_visible()
    page.locator("#target").select_option("sentiment")
    page.locator("[data-drop=text]").scroll_into_view_if_needed()  # A page does not scroll during the drag.
    page.locator("[data-column=body]").drag_to(page.locator("[data-drop=text]"))
    expect(page.locator("pre").first).to_contain_text(IMAGE)
    page.get_by_role("button", name="Try it").click()
    page.get_by_role("button", name="mood").click()
    expect(page.get_by_label("Path of column 1")).to_have_value("$.mood")
    page.get_by_label("Name of column 1").fill("feeling")
    page.get_by_label("Another column, by its path").fill("$.mood")
    page.get_by_role("button", name="Add it").last.click()
    page.get_by_role("button", name="Move column 2 up").press("Enter")
    expect(page.get_by_label("Name of column 2")).to_have_value("feeling")
    expect(page.get_by_role("button", name="Move column 1 down")).to_be_focused()  # it goes with the column
    page.locator("[data-move='1']").drag_to(page.locator("[data-place='0']"))
    expect(page.get_by_label("Name of column 1")).to_have_value("feeling")
    page.get_by_role("button", name="Remove column 2").click()
    expect(page.get_by_label("Name of column 2")).to_have_count(0)
    page.get_by_label("xlsx").check()
    page.get_by_label("Rows in flight").fill("4")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The document is valid.")).to_be_visible()
    document = page.get_by_role("textbox", name="Document")
    expect(document).to_have_value(re.compile('"max_concurrency": 4'))
    made = json.loads(document.input_value())
    assert made["input_mapping"] == {"column_mappings": {"body": "text"}}
    assert made["output_mapping"] == {"columns": [{"name": "feeling", "source": "$.mood"}]}
    assert made["output_format"] == {"type": ["csv", "xlsx"]}
    assert page.evaluate(TRIED_ATTACKS) == 0
    inspect(page, "new-mapped", heading="New run")

    page.reload()  # nothing typed is lost
    expect(document).to_have_value(re.compile('"feeling"'))
    expect(page.get_by_label("Name of column 1")).to_have_value("feeling")

    with monkeypatch.context() as broken:  # nor while the credentials are no longer valid
        broken.setattr(Workbench, "board", refuse_expired)
        page.get_by_label("Seconds a row").fill("60")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").filter(has_text="expired")).to_be_visible()
        inspect(page, "new-expired", heading="New run")
    page.get_by_role("button", name="Try again").click()
    expect(document).to_have_value(re.compile('"timeout_seconds": 60'))

    world.states.descriptions = []
    page.get_by_label("Name", exact=True).fill("my-run")
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/runs/night-run")  # the name in the answer
    assert world.states.started[0]["name"] == "my-run"
    assert json.loads(world.states.started[0]["input"])["execution_config"] == {
        "max_concurrency": 4,
        "timeout_seconds": 60,
    }
    assert set(said) == {"Failed to load resource: the server responded with a status of 503 (Service Unavailable)"}


def test_what_is_typed_stays_when_parts_are_shown_again_and_a_refused_choice_does_not(
    world: World, address: str, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = chromium.new_page()
    page.goto(address.replace("/?", "/new?"))
    page.locator("[data-file]").set_input_files({"name": NAME, "mimeType": "text/csv", "buffer": ROWS.encode()})
    expect(page.get_by_role("term").filter(has_text="Encoding")).to_be_visible()
    page.locator("#target").select_option("sentiment")
    document, field, alert = page.get_by_role("textbox", name="Document"), page.locator("#field-1"), "[data-toast]"

    typed = {"#new-field": "topic", "#new-column": "ticket", "#row": "2", "#new-path": "$.mood"}
    for name, value in typed.items():
        place = page.locator(name)
        place.select_option(value) if name in ("#new-column", "#row") else place.fill(value)
    field.select_option("body")
    page.get_by_label("xlsx").check()
    expect(document).to_have_value(re.compile("xlsx"))
    expect(page.locator("pre").first).to_contain_text(IMAGE)
    assert {name: page.locator(name).input_value() for name in typed} == typed

    kept = document.input_value()
    document.fill("{")
    expect(page.locator(alert)).to_contain_text("The document is not JSON")
    for change, make in (
        ("map", page.get_by_role("button", name="Add it").first.click),
        ("add_column", page.get_by_role("button", name="Add it").last.click),
        ("map", lambda: field.select_option("ticket")),
        ("format", page.get_by_label("xlsx").uncheck),
    ):
        with page.expect_response(refusal_of(change)):
            make()
    for name, value in typed.items():
        expect(page.locator(name)).to_have_value(value)
    document.fill(kept)
    expect(field).to_have_value("body")
    expect(page.get_by_label("xlsx")).to_be_checked()
    assert {name: page.locator(name).input_value() for name in typed} == typed

    with monkeypatch.context() as other:
        other.setattr(Workbench, "board", refuse_changes(Workbench.board))
        field.select_option("ticket")
        expect(page.locator(alert)).to_contain_text("changed meanwhile")
        expect(field).to_have_value("body")
        expect(page.locator(alert)).to_contain_text("changed meanwhile")
    page.get_by_role("button", name="Add it").first.click()
    expect(document).to_have_value(re.compile('"ticket": "topic"'))
    expect(page.locator("#new-field")).to_have_value("")
    expect(page.locator("#new-column")).to_have_value("")
    expect(page.locator("#new-path")).to_have_value("$.mood")


def test_an_output_is_written_again_with_a_column_that_was_clicked(
    world: World, address: str, chromium: Browser
) -> None:
    finish(world)
    page = chromium.new_page()
    page.goto(address.replace("/?", f"/runs/{EXECUTION}?"))
    page.get_by_role("link", name="Other columns from the kept answers").click()
    page.get_by_role("button", name="colour").click()
    expect(page.get_by_role("columnheader", name="colour")).to_be_visible()
    assert page.evaluate(TRIED_ATTACKS) == 0
    inspect(page, "remap", heading="Other columns from the kept answers")
    page.get_by_role("button", name="Write the new output").click()
    expect(page.get_by_role("status")).to_contain_text("The new output is written")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^remapped.+csv$")).click()
    assert Path(download.value.path()).read_text().splitlines()[1].split(",")[:4] == ["1", "a", "7", IMAGE]


def refusal_of(change: str) -> Callable[[Response], bool]:
    """Whether an answer refuses a change of this name."""
    return lambda answer: answer.status == 400 and f'"change":"{change}"' in (answer.request.post_data or "")


def refuse_changes(board: Callable[..., Any]) -> Callable[..., Any]:
    """``board`` of a workbench that refuses every change."""

    def refusing(workbench: Workbench, text: str, change: str = "", *given: Any) -> Any:
        if change:
            raise ClientError("it was changed meanwhile")
        return board(workbench, text, change, *given)

    return refusing


def refuse_expired(*_: Any) -> None:
    raise refusal("ExpiredTokenException", "Query")


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
