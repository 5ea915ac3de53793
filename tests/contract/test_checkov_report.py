"""What the checkov step makes of a report."""

from typing import Any

from tools.checkov import problems


def check(reason: str = "") -> dict[str, Any]:
    return {
        "check_id": "CKV_1",
        "check_name": "Ensure something",
        "file_path": "/main.tf",
        "file_line_range": [3, 9],
        "resource": "aws_s3_bucket.this",
        "check_result": {"suppress_comment": reason},
    }


def report(**results: Any) -> dict[str, Any]:
    return {"results": {"parsing_errors": [], "failed_checks": [], "skipped_checks": [], **results}}


def test_a_clean_report_is_no_problem() -> None:
    assert problems("terraform", report()) == []


def test_a_failed_check_names_its_place() -> None:
    assert problems("terraform", report(failed_checks=[check()])) == [
        "main.tf:3 aws_s3_bucket.this: CKV_1 Ensure something"
    ]


def test_a_file_that_does_not_parse_fails_although_checkov_exits_with_0() -> None:
    assert problems("terraform", report(parsing_errors=["main.tf"])) == ["main.tf: does not parse"]


def test_a_skip_needs_a_sentence_as_its_reason() -> None:
    with_reason = check("The queue keeps what was not delivered.")
    found = problems("terraform", report(skipped_checks=[with_reason, check("later")]))
    assert found == ["main.tf:3 aws_s3_bucket.this: CKV_1 is skipped without a reason"]


def test_a_report_on_nothing_is_a_problem() -> None:
    assert problems("terraform", {"passed": 0, "failed": 0}) == ["terraform: checkov found no resources"]
