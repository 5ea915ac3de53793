"""The port of the local AWS: the one of the kept state, because addresses in the state have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import local_aws
from tools.errors import CommandError


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LOCAL_AWS_DIR", str(tmp_path))
    monkeypatch.delenv("LOCAL_AWS_PORT", raising=False)
    return tmp_path


def test_a_kept_state_keeps_its_port(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_aws, "_is_free", lambda port: True)
    (folder / "state.port").write_text("4999\n")
    assert local_aws.free_port() == 4999


def test_a_kept_state_whose_port_is_taken_is_refused_with_the_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_aws, "_is_free", lambda port: port != 4999)
    (folder / "state.port").write_text("4999\n")
    with pytest.raises(CommandError, match=r"needs port 4999.*make clean"):
        local_aws.free_port()


def test_a_named_port_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "state.port").write_text("4998\n")
    monkeypatch.setenv("LOCAL_AWS_PORT", "4999")
    assert local_aws.free_port() == 4999


def test_without_a_state_it_is_the_usual_port_or_any(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not (folder / "state.port").exists()
    monkeypatch.setattr(local_aws, "_is_free", lambda port: True)
    assert local_aws.free_port() == local_aws.DEFAULT_PORT
    monkeypatch.setattr(local_aws, "_is_free", lambda port: False)
    assert local_aws.free_port() == 0


def test_a_forgotten_local_aws_does_not_wait_for_the_removal_of_its_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a local AWS with files of its workers
    own = folder / "own"
    (own / "tmp" / "code").mkdir(parents=True)
    monkeypatch.setenv("LOCAL_AWS_DIR", str(own))
    left: list[list[str]] = []
    monkeypatch.setattr(local_aws, "command", lambda *_: left.append([path.name for path in own.iterdir()]))
    # When it is forgotten
    local_aws.forget()
    # Then it stops without these files, and its folder is gone
    assert left == [[]]
    assert not own.exists()
