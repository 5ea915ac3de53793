"""What the console refuses: it answers 403, logs it without secrets, and asks AWS nothing."""

from __future__ import annotations

import logging

import pytest

from batch_processor_client.console.app import create_app
from batch_processor_client.console.guard import POLICY
from batch_processor_client.console.page import Console
from batch_processor_client.deployment import Deployment
from tests.integration.console.browser import COOKIE, ORIGIN, PORT, TOKEN, Browser
from tests.unit.client.fakes import OUTPUTS


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A console whose AWS must not be asked."""

    def refuse(*_: object) -> None:
        raise AssertionError("AWS was asked")

    monkeypatch.setattr(Deployment, "client", refuse)
    deployment = Deployment.model_validate(OUTPUTS)
    console = Console(deployment)
    return Browser(create_app(deployment, TOKEN, PORT, console), console.form_token)


WRONG_HEADERS = {
    "a host that resolves to loopback": {"host": f"rebound.example:{PORT}"},
    "no host": {"host": ""},
    "another port": {"host": "127.0.0.1:1"},
    "another origin": {"origin": "https://evil.example"},
    "an opaque origin": {"origin": "null"},
    "a page on another port": {"origin": "http://127.0.0.1:1"},
    "another site's link": {"sec_fetch_site": "cross-site"},
    "a page of another port": {"sec_fetch_site": "same-site"},
    "no token": {"cookie": ""},
    "a wrong token": {"cookie": COOKIE + "x"},
    "the cookie of another console": {"cookie": COOKIE.replace(str(PORT), "1")},
}


@pytest.mark.parametrize("headers", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
@pytest.mark.parametrize(
    "path", ["/runs", "/runs/x/progress", "/static/console.js", "/runs/x/download/output.csv", "/new"]
)
def test_a_request_from_elsewhere_is_refused(
    browser: Browser, headers: dict[str, str], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = browser.get(path, **headers)
    assert answer.status == 403
    assert f"refused GET {path!r}" in caplog.text
    assert TOKEN not in caplog.text + answer.text


CLIMBING = (
    "/runs/../download/output.csv",
    "/runs/%2e%2e/download/output.csv",
    "/runs/x/download/..%2f..%2fsecret",
    "/runs/x/download/%252e%252e%252fsecret",
    "/runs/x/download/..%5csecret",
    "/runs/x/download/output/../../../y/output.csv",
    "/runs/x/download/remapped/%2e%2e/%2e%2e/y/output.csv",
    "/runs/%2e%2e/remap",
    "/static/../page.py",
    "/static/%2e%2e/page.py",
    "/static/..%2fpage.py",
    "/runs/x%00/download/output.csv",
    "//evil.example/?token=" + TOKEN,
)


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_that_leaves_its_folder_is_refused(
    browser: Browser, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert browser.get(path).status == 403
    assert "the path leaves its folder" in caplog.text
    assert TOKEN not in caplog.text


def test_a_socket_is_closed_before_it_opens(browser: Browser) -> None:
    assert browser.open_socket() == [{"type": "websocket.close", "code": 1008}]


def test_the_token_in_the_address_becomes_a_cookie_that_no_script_and_no_other_site_can_use(browser: Browser) -> None:
    answer = browser.get(f"/runs?token={TOKEN}&state=FAILED", cookie="")
    assert (answer.status, answer.headers["location"]) == (303, "/runs?state=FAILED")
    kept = answer.headers["set-cookie"]
    assert kept.startswith(COOKIE)
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(kept.split("; "))
    assert browser.get("/runs?token=wrong", cookie="").status == 403


def test_a_form_changes_something_only_if_it_comes_from_a_page_of_this_console(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    assert browser.post("/runs/x/stop", {"form_token": "wrong"}).status == 403
    assert browser.post("/runs/x/stop", {"form_token": ""}).status == 403
    assert browser.post("/runs/x/stop", origin="").status == 403
    assert "the form is not of this console" in caplog.text
    assert browser.get("/runs/x/stop").status == 405


@pytest.mark.parametrize("path", ["/static/console.css", "/nothing", "/"])
def test_every_answer_forbids_scripts_and_frames_of_others(browser: Browser, path: str) -> None:
    headers = browser.get(path, origin=ORIGIN).headers
    assert {name: headers[name.lower()] for name in POLICY} == POLICY
    assert "unsafe" not in headers["content-security-policy"]


def test_a_mistake_in_the_console_reaches_the_log_of_its_server(browser: Browser) -> None:
    with pytest.raises(AssertionError, match="AWS was asked"):  # the server logs it
        browser.get("/runs")
