"""IAM documents in the Terraform configuration: nothing is open without AWS's reason beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.support.terraform_files import BEDROCK_BATCHES, FILES, REPOSITORY, ROW_BATCHES, parsed

EVERYTHING = re.compile(r'(Resources?|this_key)\s*=\s*(\[\s*)?"\*"')
EVERY_ACTION = re.compile(r'"(\w+:)?\*"')


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_grant_on_every_resource_has_awss_reason_in_the_comment_above(path: Path) -> None:
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if EVERYTHING.search(line):
            comment = list(takewhile(lambda above: above.strip().startswith("#"), reversed(lines[:number])))
            assert any("https://docs.aws.amazon.com/" in above for above in comment), (
                f"{path}:{number + 1} grants every resource: say above why AWS leaves no other way, with its page"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_action_of_a_service_is_only_the_keys_owner_and_a_denial(path: Path) -> None:
    for line in path.read_text().splitlines():
        if line.strip().startswith("Action") and EVERY_ACTION.search(line):
            allowed = path.parent.name in ("key", "bucket")
            assert allowed, f"{path} allows every action: {line.strip()}"


def test_policies_are_written_as_jsonencode_not_as_data_sources() -> None:
    # A mocked data source makes every assertion on its document empty.
    assert not [path for path in FILES if "aws_iam_policy_document" in path.read_text()]


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """The statements within a part of a parsed file, at any depth."""
    if isinstance(value, dict) and "Sid" in value:
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from statements(part)


STATEMENTS = [
    entry
    for module in (ROW_BATCHES, BEDROCK_BATCHES)
    for path in sorted(module.glob("*policies.tf"))
    for entry in statements(parsed(path))
]
# That AWS's reason stands beside it is another test's.
WITHOUT_RESOURCE = {"dynamodb:ListStreams", "bedrock:ListModelInvocationJobs", "xray:PutTraceSegments"}


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement["Sid"])
def test_a_statement_names_single_actions_and_their_resources(statement: dict[str, Any]) -> None:
    assert statement["Resource"] != ["*"] or set(statement["Action"]) <= WITHOUT_RESOURCE
    for action in statement["Action"]:
        assert re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action), f"{action} is no single action"


def test_no_function_but_validate_input_reads_users_buckets() -> None:
    text = (ROW_BATCHES / "policies.tf").read_text()
    sections = re.split(
        r"\n    (\w+) = (?:concat\()?", text[text.index("function_statements = {") : text.index("function_policy_arns")]
    )
    readers = [name for name, body in zip(sections[1::2], sections[2::2], strict=True) if "var.input_buckets" in body]
    assert readers == ["validate_input"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_role_deletes_versions_which_stand_in_for_a_copy_of_the_buckets(path: Path) -> None:
    # People who purge have a policy for it, which no role of the deployment has.
    without_purger = re.sub(r"  purger_statements = \[\n.*?\n  \]\n", "", path.read_text(), flags=re.DOTALL)
    assert "s3:DeleteObjectVersion" not in without_purger
