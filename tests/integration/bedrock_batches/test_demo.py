"""The demo of a Bedrock batch on a lake that earlier demos have used."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from bedrock_batches.select.duckdb_ import Lake
from tests.support.lake import memory_lake
from tools.bedrock_demo import generate

ESTIMATE = {"violationCount": 0, "costUSD": 0.0}


class Api:
    """Answers each path with the next of its answers; the last one stays."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        self._answers = answers

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        name = "estimate" if path.endswith("/estimate") else "create" if method == "POST" else "get"
        answers = self._answers[name]
        return 200, answers.pop(0) if len(answers) > 1 else answers[0]


def lake(with_content: int) -> Lake:
    return memory_lake(
        {"violation_id": f"OSHA-{number}", "agency": "osha", "fine_amount": "1", "bedrock_title": f"Title {number}"}
        for number in range(with_content)
    )


def shown(api: Api, of: Lake) -> str:
    text = io.StringIO()
    generate(Console(file=text, width=100), api, of)
    return text.getvalue()


def test_a_lake_whose_records_all_have_content_is_shown_with_it() -> None:
    nothing = {"message": "No violations to process", "violationCount": 0, "emptiedBy": "withoutGeneratedContent"}
    text = shown(Api(estimate=[{"estimate": ESTIMATE}], create=[nothing]), lake(2))
    assert "Title 1" in text
    assert "No record is left for a new job (see withoutGeneratedContent); 2 rows of the lake have content" in text


def test_an_estimate_that_is_only_begun_is_waited_for() -> None:
    api = Api(
        estimate=[{"message": "Cost estimation is running", "jobId": "estimate-1-a", "status": "InProgress"}],
        get=[{"estimate": {"violationCount": 7, "costUSD": 0.5}, "status": "Completed"}],
        create=[{"message": "No violations to process", "violationCount": 0, "emptiedBy": "notInFlight"}],
    )
    assert "7 violations, 0.5000 USD" in shown(api, lake(0))
