"""One row's trouble stays that row's: retries, time-outs, sizes, dead letters, the file of failed rows."""

from __future__ import annotations

import json
from typing import Any

from tests.support.client import run_client
from tests.support.deployment import METADATA, Deployment, Run, csv_bytes

MODES = [
    ("ok", "1"),
    ("fail", "0"),
    ("flaky", "2"),
    ("ok", "2"),
    ("slow", "30"),
    ("large", "1000000"),
    ("large", "7000000"),
    ("garbage", "0"),
    ("tool_error", "0"),
    ("ok", "3"),
]


def chaos(rows: list[tuple[str, str]], **execution: Any) -> tuple[dict[str, Any], bytes]:
    document = {
        "target": {"type": "tool", "name": "chaos"},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value", "default": "none"}]},
        "execution_config": {
            "max_concurrency": 10,
            "timeout_seconds": 15,
            "retry_policy": {"max_attempts": 3, "initial_interval_seconds": 0.2, "backoff_rate": 2.0, "jitter": False},
            **execution,
        },
    }
    return document, csv_bytes([["mode", "n"], *map(list, rows)])


def test_rows_of_every_mode_end_as_they_should_and_leave_the_good_ones_alone(deployment: Deployment) -> None:
    document, body = chaos(MODES)
    run = deployment.run(document, body).assert_succeeded()

    assert [row["_status"] for row in run.rows] == [
        *("SUCCESS", "FAILED", "SUCCESS", "SUCCESS", "TIMEOUT", "SUCCESS", "FAILED", "SUCCESS", "FAILED", "SUCCESS")
    ]
    by_mode = {(row["mode"], row["n"]): row for row in run.rows}
    assert [row["value"] for row in run.rows if row["mode"] == "ok"] == ["1", "2", "3"]
    assert by_mode["garbage", "0"]["value"] == "none"
    assert len(by_mode["large", "1000000"]["value"]) == 1_000_000
    assert {row["value"] for row in run.rows if row["_status"] != "SUCCESS"} == {"none"}

    assert "ChaosError" in by_mode["fail", "0"]["_error_message"]
    assert "fail at attempt 3" in by_mode["fail", "0"]["_error_message"]
    assert "no answer within" in by_mode["slow", "30"]["_error_message"]
    assert "too large" in by_mode["large", "7000000"]["_error_message"]
    assert "refused" in by_mode["tool_error", "0"]["_error_message"]
    assert int(by_mode["slow", "30"]["_execution_time_ms"]) >= 15_000
    assert int(by_mode["fail", "0"]["_execution_time_ms"]) >= 600, "pauses of 0.2 s and 0.4 s"

    letters = {letter["row"]: letter for letter in run.dead_letters()}
    assert sorted(letters) == [2, 5, 7, 9]
    assert letters[2]["attempts"] == 3
    assert letters[5]["attempts"] == 1
    assert letters[9]["attempts"] == 1
    assert run.document["status"] == "SUCCEEDED_WITH_FAILURES"
    assert (run.document["succeeded"], run.document["failed"], run.document["timed_out"]) == (6, 3, 1)


def test_the_file_of_failed_rows_can_be_submitted_as_it_is(deployment: Deployment) -> None:
    document, body = chaos([("ok", "1"), ("fail", "7"), ("ok", "2"), ("tool_error", "9")])
    run = deployment.run(document, body).assert_succeeded()
    assert run.failed_rows.decode().splitlines()[0] == "mode,n,_error_message,_execution_id,_row_id"

    as_excel_saves_it = run.failed_rows.decode().replace("fail,7", "fail,7.0").encode("utf-16")
    again = deployment.run(document, as_excel_saves_it).assert_succeeded()
    assert again.table[0] == ["mode", "n", "value", *METADATA]
    assert [(row["mode"], row["n"]) for row in again.rows] == [("fail", "7.0"), ("tool_error", "9")]
    assert any(warning.startswith('A spreadsheet changed column "n"') for warning in again.summary["warnings"])


def test_the_rows_of_one_cause_are_healed_and_each_output_is_verified(deployment: Deployment) -> None:
    # Given a run whose rows failed for two causes
    document, _ = chaos([], retry_policy={"max_attempts": 1})
    rows = [["ok", "1", ""], ["fail", "7", "x"], ["ok", "2", 'a "quoted",\nü'], ["tool_error", "9", ""]]
    run = deployment.run(document, csv_bytes([["mode", "n", "note"], *rows])).assert_succeeded()
    found = json.loads(run_client(deployment, "heal", run.name, "--json").stdout)
    assert [(cause["error"], cause["rows"], cause["changes"]) for cause in found["causes"]] == [
        ("ChaosError", [2], {"retry_policy": {"max_attempts": 2}}),
        ("ToolResultError", [4], {}),
    ]

    # When the rows of the first cause run again
    healed = json.loads(run_client(deployment, "heal", run.name, "--cure", "ChaosError", "--json").stdout)
    arn = f"{deployment.machine.replace(':stateMachine:', ':execution:')}:{healed['execution']}"
    again = Run(deployment, arn, deployment.wait(arn), "").assert_succeeded()

    # Then only they were called, with the changed settings, and the output has all rows
    assert healed["rows"] == 1
    assert [row["_status"] for row in again.rows] == ["SUCCESS", "FAILED", "SUCCESS", "FAILED"]
    assert (again.summary["attempts"], again.summary["resumed"], again.summary["left"]) == (2, 2, 1)
    assert again.rows[3]["_error_message"] == run.rows[3]["_error_message"]

    # And both outputs belong to the input, until a byte of one is changed
    for name in (run.name, again.name):
        done = run_client(deployment, "verify", name)
        assert (done.returncode, done.stdout[:17]) == (0, "Verified: 4 rows "), done.stdout + done.stderr
        assert "input's cells unchanged" in done.stdout
    changed = bytearray(run.output)
    changed[changed.index("ü".encode()) + 1] ^= 1
    deployment.s3.put_object(
        Bucket=deployment.outputs["results_bucket"], Key=f"results/{run.name}/output.csv", Body=bytes(changed)
    )
    done = run_client(deployment, "verify", run.name)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == "  row 3: it was changed"


def test_pauses_grow_by_the_backoff_rate(deployment: Deployment) -> None:
    policy = {"max_attempts": 4, "initial_interval_seconds": 0.2, "backoff_rate": 3.0, "jitter": False}
    document, body = chaos([("fail", "0")], retry_policy=policy, timeout_seconds=30)
    run = deployment.run(document, body).assert_succeeded()
    assert run.dead_letters()[0]["attempts"] == 4
    assert int(run.rows[0]["_execution_time_ms"]) >= 2_600, "pauses of 0.2, 0.6 and 1.8 s"


def test_errors_named_as_not_retryable_are_tried_once(deployment: Deployment) -> None:
    policy = {"max_attempts": 3, "non_retryable_errors": ["ChaosError"]}
    document, body = chaos([("fail", "0")], retry_policy=policy)
    run = deployment.run(document, body).assert_succeeded()
    assert run.dead_letters()[0]["attempts"] == 1


def test_a_row_that_cannot_be_mapped_fails_alone(deployment: Deployment) -> None:
    document = {
        "target": {"type": "tool", "name": "echo"},
        "input_mapping": {
            "transformations": {"city": {"type": "jsonpath", "config": {"column": "details", "path": "$.city"}}}
        },
        "output_mapping": {"columns": [{"name": "city", "source": "$.input.city"}]},
    }
    body = csv_bytes([["details"], ['{"city": "Bern"}'], ["not json"], ['{"town": "Basel"}'], ['{"city": "Uri"}']])
    run = deployment.run(document, body).assert_succeeded()
    assert [row["_status"] for row in run.rows] == ["SUCCESS", "FAILED", "FAILED", "SUCCESS"]
    assert [row["city"] for row in run.rows] == ["Bern", "", "", "Uri"]
    assert "city" in run.rows[1]["_error_message"]
    assert "not json" not in run.rows[1]["_error_message"], "a cell's value in a message"
