"""Which Terraform, which provider mirror, which local AWS; and what is not destroyed by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import local_aws, terraform


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, an empty repository, no registry and no variables of this machine."""
    for name in ("TF_CLI_CONFIG_FILE", "XDG_DATA_HOME", "LOCAL_AWS_PORT", "LOCAL_AWS_DIR", "CONFIRM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    monkeypatch.setattr(terraform, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(terraform, "registry_answers", lambda: False)
    return tmp_path


def mirror(folder: Path) -> Path:
    (folder / terraform.REGISTRY / "hashicorp" / "aws").mkdir(parents=True)
    return folder


def test_terraforms_implied_mirror_comes_first(home: Path) -> None:
    shared = mirror(home / "share" / "terraform" / "plugins")
    assert terraform.filesystem_mirror() == shared
    own = mirror(home / ".terraform.d" / "plugins")
    assert terraform.filesystem_mirror() == own


def test_without_a_registry_the_configuration_names_the_mirror(home: Path) -> None:
    own = mirror(home / ".terraform.d" / "plugins")
    path = terraform.cli_configuration()
    assert path
    assert f'path    = "{own}"' in path.read_text()


def test_with_a_registry_no_mirror_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(home / ".terraform.d" / "plugins")
    monkeypatch.setattr(terraform, "registry_answers", lambda: True)
    path = terraform.cli_configuration()
    assert path
    assert "filesystem_mirror" not in path.read_text()


def test_the_users_own_configuration_is_used_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = home / "own.tfrc"
    own.write_text("")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(own))
    assert terraform.cli_configuration() is None


def test_a_configuration_that_does_not_exist_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(home / "missing.tfrc"))
    assert terraform.cli_configuration()


def test_the_local_aws_is_reached_as_its_root_whatever_the_callers_variables_say(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setattr(local_aws, "endpoint_url", lambda: "http://127.0.0.1:4599")
    variables = terraform.Terraform("local").variables
    assert "AWS_PROFILE" not in variables
    assert variables["AWS_ENDPOINT_URL"] == variables["TF_VAR_endpoint_url"] == "http://127.0.0.1:4599"


@pytest.mark.parametrize("confirmation", [None, "", "999999999999"])
def test_prod_is_not_destroyed_without_its_account(
    home: Path, monkeypatch: pytest.MonkeyPatch, confirmation: str | None
) -> None:
    if confirmation is not None:
        monkeypatch.setenv("CONFIRM", confirmation)
    monkeypatch.setattr(terraform.Terraform, "account_id", lambda self: "123456789012")
    with pytest.raises(terraform.TerraformError, match="CONFIRM=<account id>"):
        terraform.Terraform("prod").confirm_destroy()


def test_prod_is_destroyed_when_its_account_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIRM", "123456789012")
    monkeypatch.setattr(terraform.Terraform, "account_id", lambda self: "123456789012")
    terraform.Terraform("prod").confirm_destroy()


def test_a_stray_workspace_variable_does_not_choose_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_WORKSPACE", "prod")
    assert terraform.Terraform("stage").variables["TF_WORKSPACE"] == "stage"
