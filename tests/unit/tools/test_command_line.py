"""What the commands of tools take: a mistake is told in make's words, before anything is asked of AWS."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools import output, package, terraform

EVERY_COMMAND = (output.main, package.main, lambda arguments: terraform.main(["plan", *arguments]))


@pytest.mark.parametrize("main", EVERY_COMMAND)
def test_an_unknown_environment_is_refused_alike(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", "nope"]) == 1
    assert capsys.readouterr().err == "ENV=nope: it is local, stage or prod.\n"
