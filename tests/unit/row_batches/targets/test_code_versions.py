"""Which code is behind a target's ARN, as AWS's answers say it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from row_batches.document.target_version import TargetVersion
from row_batches.targets.lambda_ import LambdaFunctionSettings
from row_batches.targets.stepfunctions import StateMachineSettings

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:agent"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Aws:
    """Answers as the services do; ``revision`` None: the state machine was never updated."""

    def __init__(self, revision: str | None = None) -> None:
        self.revision = revision

    def describe_state_machine(self, **asked: str) -> dict[str, Any]:
        assert asked == {"stateMachineArn": MACHINE}
        return {"creationDate": CREATED} | ({"revisionId": self.revision} if self.revision else {})

    def describe_state_machine_alias(self, **asked: str) -> dict[str, Any]:
        assert asked == {"stateMachineAliasArn": f"{MACHINE}:live"}
        routes = [(f"{MACHINE}:12", 90), (f"{MACHINE}:11", 10)]
        return {"routingConfiguration": [{"stateMachineVersionArn": arn, "weight": weight} for arn, weight in routes]}

    def get_function_configuration(self, **asked: str) -> dict[str, Any]:
        return {"Timeout": 60, "CodeSha256": f"sha of {asked['FunctionName']}"}


@pytest.mark.parametrize(
    ("arn", "revision", "code"),
    [
        (MACHINE, "5f1d7c5e-0000-4000-8000-000000000000", "5f1d7c5e-0000-4000-8000-000000000000"),
        (MACHINE, None, "260102030405"),
        (f"{MACHINE}:7", "any", "v7"),
        (f"{MACHINE}:live", "any", "v11+v12"),
    ],
)
def test_the_code_of_a_state_machine_is_its_revision_or_the_versions_behind_its_alias(
    arn: str, revision: str | None, code: str
) -> None:
    assert StateMachineSettings(lambda: Aws(revision)).code(arn) == code  # type: ignore[arg-type,return-value]


def test_the_code_of_a_function_is_its_hash() -> None:
    assert LambdaFunctionSettings(lambda: Aws()).code("echo:live") == "sha of echo:live"  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1@qNqEZb0e8kLm", TargetVersion("1", "qNqEZb0e8kLm")),
        ("1", TargetVersion("1")),
        ("", TargetVersion()),
        ("1@unknown", TargetVersion("1")),
        ("unknown@unknown", TargetVersion()),
        ("a@b@c", TargetVersion("a@b", "c")),
    ],
)
def test_a_version_is_read_from_its_text_and_that_of_earlier_releases(text: str, version: TargetVersion) -> None:
    assert TargetVersion.parse(text) == version
    assert TargetVersion.parse(str(version)) == version


def test_only_code_that_is_known_on_both_sides_is_other_code() -> None:
    known = TargetVersion("1", "a")

    assert known.has_other_code(TargetVersion("1", "b"))
    assert not known.has_other_code(TargetVersion("2", "a"))
    assert not known.has_other_code(TargetVersion("1"))
