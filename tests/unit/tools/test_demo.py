"""What the demo compares and shows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tools import demo, local_aws, up
from tools.demo import DEMONSTRATED, begun_beside, differences, show_when_done
from tools.errors import CommandError


def test_an_output_is_compared_with_the_expected_one_without_its_metadata() -> None:
    expected = "id,category\n1,A\n2,B\n"
    assert differences(expected, "id,category,_timestamp\n1,A,now\n2,B,then\n") == []
    assert differences(expected, "id,category\n1,A\n2,C\n") == ["row 2, column category: 'C' instead of 'B'"]
    assert differences(expected, "id,category\n1,A\n") == ["1 rows instead of 2"]


@pytest.mark.parametrize("example", DEMONSTRATED, ids=lambda example: str(example.name))
def test_the_demonstrated_columns_are_those_of_the_example(example: Any) -> None:
    header = (example.folder / "expected.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert set(example.shown) <= {*header, "_status"}


def test_what_is_shown_beside_is_printed_in_its_turn_with_its_styles() -> None:
    # Given two things to show, of which the second is done first
    styled = io.StringIO()
    console = Console(width=100, file=styled, force_terminal=True, color_system="standard", force_interactive=False)
    second = begun_beside(lambda to: to.print("[bold]second[/bold] " + "long " * 30, soft_wrap=True))
    second.result()
    # When the first is shown, and then what is done
    console.print("first")
    show_when_done(console, "The second", second)
    # Then the order is that of the demo, and neither a style nor the length of a line has changed
    text = styled.getvalue()
    assert text.index("first") < text.index("\x1b[1msecond\x1b[0m " + "long " * 30 + "\n")


def test_without_a_terminal_there_are_no_styles() -> None:
    plain = io.StringIO()
    show_when_done(Console(width=100, file=plain), "A", begun_beside(lambda to: to.print("[bold]done[/bold]")))
    assert plain.getvalue() == "done\n"


def test_what_fails_beside_fails_the_demo() -> None:
    def fail(_: Console) -> None:
        raise CommandError("no records")

    with pytest.raises(CommandError, match="no records"):
        show_when_done(Console(file=io.StringIO()), "A", begun_beside(fail))


def test_a_demo_that_fails_keeps_the_logs_that_its_message_names_and_the_next_one_removes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a deployment that fails
    own, called = tmp_path / "demo-aws", list[str]()
    monkeypatch.setattr(demo, "OWN_FOLDER", own)
    monkeypatch.setenv("LOCAL_AWS_DIR", str(tmp_path))
    monkeypatch.setattr(local_aws, "is_running", lambda: False)
    for name in ("stop", "forget"):
        monkeypatch.setattr(local_aws, name, lambda name=name: called.append(name))

    def fail(*_: object, **__: object) -> None:
        own.mkdir(exist_ok=True)
        called.append("start")
        raise CommandError("no policy")

    monkeypatch.setattr(up, "start_and_deploy", fail)
    # When the demo runs twice
    for _ in range(2):
        with pytest.raises(CommandError, match="no policy"):
            demo.demonstrate(Console(file=io.StringIO()), keep=False)
    # Then each stops without removing the folder, and the second begins without what the first left
    assert called == ["start", "stop", "forget", "start", "stop"]
