"""What `make plan`, `apply`, `destroy` and `state-bucket` do, in which order, and what they refuse."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from tests.unit.client.fakes import refusal
from tests.unit.client.test_config import BOMB
from tests.unit.client.test_schemas import SCHEMA
from tools import package, terraform

ACCOUNT, OTHER_ACCOUNT = "123456789012", "999999999999"
STATE_BUCKET = f"batch-processor-terraform-{ACCOUNT}-us-east-1"
PROTECTED = ["put_bucket_versioning", "put_bucket_encryption", "put_public_access_block", "put_bucket_policy"]
REAL = terraform.Terraform


class FakedTerraform(REAL):
    """Writes down the commands instead of running them; ``refused`` names one that fails."""

    commands: list[str] = []  # noqa: RUF012
    refused = ""

    def prepare(self) -> None:
        self.commands.append("prepare")

    def run(
        self, *arguments: str, capture: bool = False, allowed: Sequence[int] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        self.commands.append(" ".join(word for word in arguments if not word.startswith(("-var", "-para", "-det"))))
        if arguments[0] == self.refused:
            raise terraform.TerraformError("see above")
        for word in arguments:
            if word.startswith("-out="):
                Path(word.removeprefix("-out=")).touch()
        return subprocess.CompletedProcess([], terraform.DIFFERENCE)

    def account_id(self) -> str:
        return ACCOUNT

    def outputs(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with packaged artefacts of stage, Terraform's folder beside it, no variables of this machine."""
    for name in ("LOCAL_AWS_PORT", "LOCAL_AWS_DIR", "CONFIRM", "TF_VAR_allowed_account_ids"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TF_DATA_DIR", str(tmp_path / "terraform"))
    monkeypatch.setattr(terraform, "REPOSITORY", tmp_path)
    monkeypatch.setattr(terraform, "registry_answers", lambda: True)
    packaged(tmp_path, "first")
    return tmp_path


@pytest.fixture
def faked(home: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakedTerraform]:
    monkeypatch.setattr(FakedTerraform, "commands", [])
    monkeypatch.setattr(FakedTerraform, "refused", "")
    monkeypatch.setattr(terraform, "Terraform", FakedTerraform)
    monkeypatch.setattr(terraform, "kept", lambda *_, **__: [])
    return FakedTerraform


def packaged(home: Path, content: str) -> None:
    manifest = home / "build" / "artifacts" / "stage" / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(content)


def saved(home: Path) -> list[Path]:
    return list((home / "terraform").glob("*.tfplan"))


def verbs(faked: type[FakedTerraform]) -> list[str]:
    return [command.split()[0] for command in faked.commands]


def test_apply_applies_the_plan_that_was_saved_once(faked: type[FakedTerraform], home: Path) -> None:
    # Given a plan that was looked at
    assert terraform.main(["plan", "--env", "stage"]) == 0
    (plan,) = saved(home)
    faked.commands.clear()
    # When it is applied, then nothing is planned, and the plan is gone
    assert terraform.main(["apply", "--env", "stage"]) == 0
    assert faked.commands == ["prepare", f"apply {plan}"]
    assert saved(home) == []


def test_the_plan_of_another_environment_is_not_applied(faked: type[FakedTerraform], home: Path) -> None:
    # Given one folder of Terraform's for two environments
    terraform.main(["plan", "--env", "prod"])
    (other,) = saved(home)
    faked.commands.clear()
    assert terraform.main(["apply", "--env", "stage"]) == 0
    assert not [command for command in faked.commands if str(other) in command]
    assert saved(home) == [other]


def test_without_a_saved_plan_stage_is_planned_and_applied(faked: type[FakedTerraform], home: Path) -> None:
    assert terraform.main(["apply", "--env", "stage"]) == 0
    assert verbs(faked) == ["prepare", "apply"]
    assert saved(home) == []


def test_prod_is_not_applied_without_a_plan(faked: type[FakedTerraform], capsys: pytest.CaptureFixture[str]) -> None:
    assert terraform.main(["apply", "--env", "prod"]) == 1
    assert "make plan ENV=prod first" in capsys.readouterr().err
    assert faked.commands == []


def test_make_up_plans_anew_whatever_was_saved(faked: type[FakedTerraform], home: Path) -> None:
    terraform.main(["plan", "--env", "stage"])
    faked.commands.clear()
    assert terraform.main(["apply", "--env", "stage", "--plan-anew"]) == 0
    assert verbs(faked) == ["prepare", "apply"]
    assert saved(home) == []


def test_a_plan_of_other_artefacts_is_not_applied(
    faked: type[FakedTerraform], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A plan has the artefacts' hashes only: applied later, it would upload other bytes under them.
    terraform.main(["plan", "--env", "stage"])
    packaged(home, "second")
    faked.commands.clear()
    assert terraform.main(["apply", "--env", "stage"]) == 1
    assert "Plan again: make plan ENV=stage" in capsys.readouterr().err
    assert "apply" not in verbs(faked)


def test_a_plan_that_terraform_refuses_is_given_up(
    faked: type[FakedTerraform], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terraform.main(["plan", "--env", "stage"])
    monkeypatch.setattr(faked, "refused", "apply")
    assert terraform.main(["apply", "--env", "stage"]) == 1
    assert "Plan again: make plan ENV=stage" in capsys.readouterr().err
    assert saved(home) == []


def test_a_plan_to_destroy_is_only_shown(faked: type[FakedTerraform], home: Path) -> None:
    assert terraform.main(["plan", "--env", "stage", "-destroy"]) == 0
    assert saved(home) == []


def test_what_refuses_to_be_destroyed_is_told_before_terraform_begins(
    faked: type[FakedTerraform], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    monkeypatch.setattr(terraform, "kept", lambda *_, **__: ["bucket inputs holds objects: empty it"])
    assert terraform.main(["destroy", "--env", "prod"]) == 1
    told = capsys.readouterr().err
    assert "bucket inputs holds objects: empty it" in told
    assert "docs/how-to/deploy.md" in told
    assert faked.commands == []


def test_what_does_not_refuse_is_destroyed(faked: type[FakedTerraform], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIRM", ACCOUNT)
    assert terraform.main(["destroy", "--env", "prod"]) == 0
    assert verbs(faked) == ["prepare", "apply"]
    assert faked.commands[1] == "apply -auto-approve -destroy"


@pytest.mark.parametrize("action", ["plan", "apply", "destroy", "output"])
def test_no_local_aws_is_said_before_anything_is_packaged(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    monkeypatch.setenv("LOCAL_AWS_DIR", str(home))
    monkeypatch.delattr(package, "build")
    assert terraform.main([action, "--env", "local", "--package"]) == 1
    assert capsys.readouterr().err == f"No local AWS runs in {home.resolve()}: start it with `make up`.\n"


@pytest.mark.parametrize(("typed", "code"), [("stage\n", 0), ("yes\n", 1), ("\n", 1)])
def test_destroy_asks_on_a_terminal(
    faked: type[FakedTerraform], monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    terminal = io.StringIO(typed)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert terraform.main(["destroy", "--env", "stage"]) == code
    assert bool(faked.commands) is (code == 0)


@pytest.mark.parametrize("action", ["plan", "apply", "destroy"])
def test_missing_credentials_are_said_before_anything_is_built(
    faked: type[FakedTerraform],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: str,
) -> None:
    def refuse(_: FakedTerraform) -> str:
        raise NoCredentialsError

    monkeypatch.setattr(FakedTerraform, "account_id", refuse)
    monkeypatch.delattr(package, "build")
    assert terraform.main([action, "--env", "stage", "--package"]) == 1
    assert capsys.readouterr().err.startswith("AWS was not asked: Unable to locate credentials")
    assert faked.commands == []


class FakeBuckets:
    """S3 with the buckets given; writes down what is set on them."""

    def __init__(self, *buckets: str, refused: str = "404") -> None:
        self.buckets = list(buckets)
        self.refused = refused
        self.set: list[str] = []
        self.meta = SimpleNamespace(partition="aws")

    def head_bucket(self, Bucket: str, ExpectedBucketOwner: str) -> None:  # noqa: N803
        assert ExpectedBucketOwner == ACCOUNT
        if Bucket not in self.buckets:
            raise refusal(self.refused, "HeadBucket")

    def create_bucket(self, Bucket: str) -> None:  # noqa: N803
        self.buckets.append(Bucket)

    def put_bucket_policy(self, Bucket: str, Policy: str) -> None:  # noqa: N803
        assert json.loads(Policy)["Statement"][0]["Resource"][1] == f"arn:aws:s3:::{Bucket}/*"
        self.set.append("put_bucket_policy")

    def __getattr__(self, operation: str) -> Any:
        return lambda **_: self.set.append(operation)


@pytest.fixture
def stage_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """stage.tfvars of a root module that names an account in a comment only."""
    variables = home / "module" / "envs" / "stage.tfvars"
    variables.parent.mkdir(parents=True)
    variables.write_text(f'# allowed_account_ids = ["{OTHER_ACCOUNT}"]\n')
    variables.with_name("stage.s3.tfbackend").write_text('region = "us-east-1"\n')
    monkeypatch.setattr(terraform, "ROOT_MODULE", home / "module")
    return variables


@pytest.mark.parametrize("there", [(), (STATE_BUCKET,)])
def test_the_bucket_of_the_state_is_made_and_protected_also_when_it_was_there(
    faked: type[FakedTerraform],
    stage_variables: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    there: tuple[str, ...],
) -> None:
    buckets = FakeBuckets(*there)
    monkeypatch.setattr(faked, "client", lambda self, service: buckets)
    assert terraform.main(["state-bucket", "--env", "stage"]) == 0
    assert (buckets.buckets, buckets.set) == ([STATE_BUCKET], PROTECTED)
    assert f"Account {ACCOUNT}" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["tfvars", "variable"])
def test_no_bucket_is_made_in_another_account(
    faked: type[FakedTerraform],
    stage_variables: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
) -> None:
    if where == "tfvars":
        stage_variables.write_text(f'allowed_account_ids = [\n  "{OTHER_ACCOUNT}",\n]\n')
    else:
        monkeypatch.setenv("TF_VAR_allowed_account_ids", f'["{OTHER_ACCOUNT}"]')
    buckets = FakeBuckets()
    monkeypatch.setattr(faked, "client", lambda self, service: buckets)
    assert terraform.main(["state-bucket", "--env", "stage"]) == 1
    assert f"of account {ACCOUNT}, and stage is {OTHER_ACCOUNT}" in capsys.readouterr().err
    assert (buckets.buckets, buckets.set) == ([], [])


def test_the_bucket_of_a_stranger_is_not_used(
    faked: type[FakedTerraform],
    stage_variables: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    buckets = FakeBuckets(refused="403")
    monkeypatch.setattr(faked, "client", lambda self, service: buckets)
    assert terraform.main(["state-bucket", "--env", "stage"]) == 1
    assert f"The bucket {STATE_BUCKET} cannot be used" in capsys.readouterr().err
    assert buckets.set == []


@pytest.mark.parametrize("action", ["plan", "apply"])
def test_a_wrong_configuration_is_refused_with_line_and_fix_before_anything_is_done(
    faked: type[FakedTerraform], home: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "batch-processor-config.yaml").write_text("defaults:\n  max_concurency: 5\n")
    assert terraform.main([action, "--env", "stage"]) == 1
    said = capsys.readouterr().err
    assert "batch-processor-config.yaml, line 2: defaults.max_concurency: unknown field" in said
    assert "did you mean max_concurrency?" in said
    assert faked.commands == []


@pytest.mark.parametrize("action", ["plan", "apply"])
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        pytest.param(SCHEMA.replace("(.+)", "(.+"), 9, "not a regular expression: missing )", id="regex"),
        pytest.param(
            SCHEMA.replace("{type: structured}", "{type: structured, transform: uper}"),
            7,
            "did you mean upper?",
            id="transform",
        ),
        pytest.param(BOMB, 5, "more than 20,000 values once its anchors are expanded", id="anchor bomb"),
    ],
)
def test_a_wrong_schema_is_refused_with_line_and_fix_before_anything_is_done(
    faked: type[FakedTerraform],
    home: Path,
    capsys: pytest.CaptureFixture[str],
    action: str,
    text: str,
    line: int,
    said: str,
) -> None:
    (home / "schemas").mkdir()
    (home / "schemas" / "echo.yaml").write_text(text)
    assert terraform.main([action, "--env", "stage"]) == 1
    (told,) = [one for one in capsys.readouterr().err.splitlines() if said in one]
    assert told.startswith(f"echo.yaml, line {line}: ")
    assert "Fix: " in told
    assert faked.commands == []


def test_the_configuration_that_the_variable_names_is_checked(
    faked: type[FakedTerraform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text("storage_mode: here\n")
    monkeypatch.setenv("TF_VAR_config_file", str(tmp_path / "own.yaml"))
    assert terraform.main(["plan", "--env", "stage"]) == 1
    assert "own.yaml, line 1: storage_mode" in capsys.readouterr().err


def test_a_configuration_is_left_alone_by_destroy_and_by_a_plan_that_was_saved(
    faked: type[FakedTerraform], home: Path
) -> None:
    terraform.main(["plan", "--env", "stage"])
    (home / "batch-processor-config.yaml").write_text("defaults: [")
    assert terraform.main(["apply", "--env", "stage"]) == 0
    assert terraform.main(["destroy", "--env", "stage"]) == 0


def test_only_a_folder_of_another_environment_is_initialised_for_its_outputs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one folder of Terraform's for two environments
    commands: list[str] = []

    def run(self: terraform.Terraform, *arguments: str, **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(f"{arguments[0]} in {self.variables['TF_WORKSPACE']}")
        self.data_dir.mkdir(exist_ok=True)
        return subprocess.CompletedProcess([], 0, "{}")

    monkeypatch.setattr(REAL, "run", run)
    monkeypatch.setattr(REAL, "account_id", lambda _: ACCOUNT)
    monkeypatch.setattr(REAL, "has_bucket", lambda *_: True)
    # When each is asked twice, then only the first question of each initialises, and no command selects a workspace
    for environment in ("stage", "stage", "prod", "prod"):
        REAL(environment).outputs()
    assert commands == ["init in stage", *["output in stage"] * 2, "init in prod", *["output in prod"] * 2]
