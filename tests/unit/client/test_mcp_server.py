"""The tools for agents, called with the SDK's own client: what they say, and that the budget holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import NoCredentialsError, ReadTimeoutError
from mcp import Client
from mcp.types import CallToolResult

from batch_processor_client import estimates, executions, following, jobs, mcp_server, runs, targets, trials
from batch_processor_client import retry as retries
from batch_processor_client import stop as stops
from batch_processor_client.documents import with_cost_limit
from batch_processor_client.errors import ClientError
from batch_processor_client.mcp_budget import Budget
from batch_processor_client.progress import Progress
from batch_processor_client.retry import Retry
from foundation.errors import ServiceUnavailableError, ThrottledError
from row_batches.document.plan import CostEstimate, Target, TargetPrices
from row_batches.run.runs import Approval, Counts, Run, RunEnding, RunState
from row_batches.run.trial_forecast import Forecast
from row_batches.run.trial_report import TrialReport, WholeRun
from tests.support.batches import make_plan
from tests.support.fakes import FakeObjectStore, FakeRuns
from tests.unit.client.fakes import OUTPUTS, FakeStates, fake_deployment, refusal, run_command

DOCUMENT = {"target": {"type": "tool", "name": "echo"}, "csv_s3_uri": "s3://input/rows.csv"}
TOKEN = "token-of-the-approval"
COSTS = {
    "parts": {"lambda": {"best": 0.5, "worst": 2.0}, "target": {"best": 1.0, "worst": 6.0}},
    "total": {"best": 1.5, "worst": 8.0},
    "target_included": True,
    "assumptions": ["worst: every row fails"],
}
PLANNED = {"total_rows": 100, "rows_to_run": 100, "estimate": COSTS, "warnings": []}
ECHO = Target(name="echo", type="tool", arn="arn:aws:lambda:us-east-1:1:function:echo", invocation="lambda")
PRICED = ECHO.model_copy(update={"cost_per_call_usd": 0.01})
TOKENS_PRICED = PRICED.model_copy(
    update={"prices": TargetPrices(input_usd_per_million_tokens=1, output_usd_per_million_tokens=1)}
)
WHOLE = WholeRun(
    rows=100,
    seconds=Forecast(expected=10, low=9, high=11),
    cost_usd=Forecast(expected=2, low=1, high=3),
    target_included=True,
    failed_percent=Forecast(expected=0, low=0, high=1),
    failed_rows=Forecast(expected=0, low=0, high=1),
    basis=[],
)


class World:
    """A deployment whose dry runs say ``PLANNED``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.table = FakeRuns()
        self.states = FakeStates([{"status": "SUCCEEDED", "output": json.dumps(PLANNED)}])
        self.deployment = fake_deployment(monkeypatch, stepfunctions=self.states, dynamodb=None, s3=None)
        for module in (runs, trials):
            monkeypatch.setattr(module, "DynamoDbRuns", lambda *_: self.table)
        monkeypatch.setattr(executions, "refuse_used_name", lambda *_: None)
        self.register(PRICED)
        self.report(WHOLE)

    def register(self, target: Target) -> None:
        self.monkeypatch.setattr(targets, "find_target", lambda *_: target)
        self.monkeypatch.setattr(targets, "list_targets", lambda *_: [target])

    def report(self, whole: WholeRun | None) -> None:
        report = TrialReport(
            execution_id="run-1", target="echo", total_rows=100, rows=2, finished=2, called=2, succeeded=2, failed=0,
            timed_out=0, columns=[], answers=[], failures_by_cause=[], row_seconds=None, row_tokens=None,
            row_cost_usd=None, whole=whole,
        )  # fmt: skip
        self.monkeypatch.setattr(trials, "read_report", lambda *_: report)

    def waiting(self, name: str = "run-1", limit: float | None = None, target: Target = PRICED) -> None:
        """A run that waits for an approval. Its target may cost ``limit``."""
        now = datetime(2026, 11, 27, tzinfo=UTC)
        settings = {} if limit is None else {"stop_after": {"cost_usd": limit}}
        plan = make_plan(
            [["1", "a"]] * 100, store=FakeObjectStore(), execution=name, execution_config=settings
        ).model_copy(update={"target": target, "estimate": CostEstimate(**COSTS, prices_as_of="2026-11-01")})
        self.monkeypatch.setattr(runs, "read_plan", lambda *_: plan)
        self.table.start(
            Run.of_plan(plan).model_copy(update={"approval": Approval(token=TOKEN, asked_at=now, until=now)})
        )

    def ended(self, name: str, cost_usd: float) -> None:
        self.waiting(name)
        self.table.end(
            name,
            RunEnding(
                state=RunState.SUCCEEDED,
                counts=Counts(),
                ended_at=datetime(2026, 11, 27, tzinfo=UTC),
                cost_usd=cost_usd,
            ),
        )

    @property
    def started(self) -> list[dict[str, Any]]:
        """The documents of the executions that are no dry runs."""
        documents = [json.loads(one["input"]) for one in self.states.started]
        return [document for document in documents if not document.get("dry_run")]

    def server(self, budget_usd: float = 10, folder: Path | None = None) -> Any:
        return mcp_server.server(self.deployment, budget_usd, folder)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture(autouse=True)
def _event_loop(socket_enabled: None) -> None:
    """An event loop wakes itself up through a pair of sockets. The client is connected in memory."""


def talk(server: Any, conversation: Callable[[Client], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with Client(server) as client:
            return await conversation(client)

    return asyncio.run(connected())


def call(server: Any, tool: str, **arguments: Any) -> CallToolResult:
    result: CallToolResult = talk(server, lambda client: client.call_tool(tool, arguments))
    return result


def answer(server: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    result = call(server, tool, **arguments)
    assert not result.is_error, text(result)
    return dict(result.structured_content or {})


def text(result: CallToolResult) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


def test_each_tool_says_what_it_does_and_what_it_changes(world: World) -> None:
    listed = talk(world.server(), lambda client: client.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in mcp_server.TOOLS]
    assert all(tool.description and tool.output_schema for tool in listed)
    hints = {tool.name: tool.annotations for tool in listed}
    assert [name for name, hint in hints.items() if not hint.read_only_hint] == [
        "trial", "go_on_after_trial", "start", "stop", "retry", "create_job",
    ]  # fmt: skip
    assert [name for name, hint in hints.items() if hint.destructive_hint] == ["stop"]
    assert hints["stop"].idempotent_hint
    assert not hints["start"].idempotent_hint


def test_no_tool_takes_an_amount_or_an_approval(world: World) -> None:
    listed = talk(world.server(), lambda client: client.list_tools()).tools
    arguments = {name for tool in listed for name in tool.input_schema.get("properties", {})}
    assert not [name for name in arguments if "usd" in name or "approv" in name or "budget" in name]


def test_an_estimate_runs_no_row(world: World) -> None:
    said = answer(world.server(0), "estimate", document=DOCUMENT)
    assert (said["best_usd"], said["worst_usd"], said["service_usd"]) == (1.5, 8.0, 0.5)
    assert said["target_worst_usd"] == 6.0
    assert world.started == []


def test_a_run_within_the_budget_starts(world: World) -> None:
    said = answer(world.server(10), "start", document=DOCUMENT, name="mine")
    assert (said["started"], said["execution"], said["committed_usd"]) == (True, "mine", 8.0)
    # The limit is that of the target: 2 of the 8 USD are for the service.
    assert world.started == [limited(DOCUMENT, 6.0)]


def limited(document: dict[str, Any], usd: float) -> dict[str, Any]:
    return {**document, "execution_config": {"stop_after": {"cost_usd": usd}}}


@pytest.mark.parametrize(("own", "holds"), [(5, 5), (50, 6.0)])
def test_a_run_stops_by_itself_at_what_it_has_of_the_budget_or_at_its_own_lower_limit(
    world: World, own: float, holds: float
) -> None:
    limits = {"failed_rows": 3, "cost_usd": own}
    document = {**DOCUMENT, "execution_config": {"max_concurrency": 2, "stop_after": limits}}
    answer(world.server(10), "start", document=document)
    (started,) = world.started
    assert started["execution_config"] == {"max_concurrency": 2, "stop_after": {"failed_rows": 3, "cost_usd": holds}}


@pytest.mark.parametrize("wrong", [{"execution_config": 1}, {"execution_config": {"stop_after": {"cost_usd": "1"}}}])
def test_a_limit_does_not_hide_a_mistake_in_a_document(wrong: dict[str, Any]) -> None:
    assert with_cost_limit({**DOCUMENT, **wrong}, 3) == {**DOCUMENT, **wrong}


def test_a_run_that_should_cost_nothing_has_the_lowest_limit_there_is() -> None:
    assert with_cost_limit(DOCUMENT, 0) == limited(DOCUMENT, 1e-6)


@pytest.mark.parametrize("budget", [0, 7.99])
def test_a_run_above_the_budget_asks_for_approval_and_nothing_starts(world: World, budget: float) -> None:
    said = answer(world.server(budget), "start", document=DOCUMENT)
    assert (said["started"], said["approval_needed"], said["worst_usd"]) == (False, True, 8.0)
    assert said["command"] == "batch-processor --env stage run --input <document.json>"
    assert (said["budget_usd"], said["committed_usd"]) == (budget, 0)
    assert world.started == []


@pytest.mark.parametrize("target", [ECHO, TOKENS_PRICED], ids=["none", "of tokens"])
@pytest.mark.parametrize("tool", ["start", "trial"])
def test_an_unknown_cost_asks_for_approval_whatever_the_budget(world: World, tool: str, target: Target) -> None:
    world.register(target)
    said = answer(world.server(1_000_000), tool, document=DOCUMENT)
    assert (said["started"], said["approval_needed"], said["worst_usd"]) == (False, True, None)
    assert "not known" in said["message"]
    assert world.started == []


def test_runs_that_go_on_count_with_their_worst_case_and_ended_ones_with_their_cost(world: World) -> None:
    server = world.server(10)
    answer(server, "start", document=DOCUMENT, name="first")
    assert answer(server, "start", document=DOCUMENT, name="second")["approval_needed"]
    world.ended("first", cost_usd=1.5)
    said = answer(server, "start", document=DOCUMENT, name="third")
    assert (said["started"], said["committed_usd"]) == (True, 9.5)
    assert len(world.started) == 2


def test_a_run_that_could_not_start_takes_nothing_from_the_budget(world: World) -> None:
    server = world.server(10)
    world.monkeypatch.setattr(runs, "check_name", lambda name: refuse() if name == "bad" else None)
    assert "refused" in text(call(server, "start", document=DOCUMENT, name="bad"))
    assert answer(server, "start", document=DOCUMENT, name="good")["committed_usd"] == 8.0


def refuse() -> None:
    raise ClientError("refused")


@pytest.mark.parametrize(
    ("budget", "committed", "limit"),
    [
        (100, 8.0, 6.0),  # the whole run
        (5, 5, 3.0),  # what is left, of which the service can take 2
        (2, 2, 0.6),  # what is left; the limit lets all rows of the trial run
    ],
)
def test_a_trial_reserves_what_its_whole_run_can_cost_or_what_is_left(
    world: World, budget: float, committed: float, limit: float
) -> None:
    server = world.server(budget)
    said = answer(server, "trial", document={**DOCUMENT, "trial": {"approval": "none"}}, rows=10)
    assert (said["started"], said["worst_usd"], said["committed_usd"]) == (True, 0.8 + 0.5, committed)
    (started,) = world.started
    assert started["trial"] == {"rows": 10, "approval": "required"}
    assert started["execution_config"]["stop_after"]["cost_usd"] == pytest.approx(limit)


def test_a_trial_whose_rows_can_cost_more_than_is_left_asks_for_approval(world: World) -> None:
    said = answer(world.server(1.29), "trial", document=DOCUMENT, rows=10)
    assert (said["approval_needed"], said["worst_usd"], world.started) == (True, 1.3, [])


def test_trials_that_go_on_together_cannot_pass_the_budget(world: World) -> None:
    server = world.server(10)
    answer(server, "trial", document=DOCUMENT, rows=10, name="first")
    answer(server, "trial", document=DOCUMENT, rows=10, name="second")
    limits = [one["execution_config"]["stop_after"]["cost_usd"] for one in world.started]
    approved = 0.0
    for name, limit in zip(("first", "second"), limits, strict=True):
        world.waiting(name, limit)
        if answer(server, "go_on_after_trial", execution=name)["started"]:
            approved += limit + 2
    assert approved == 8.0


def test_a_run_goes_on_after_its_trial_if_the_most_that_it_can_cost_is_within_the_budget(world: World) -> None:
    world.waiting(limit=3)
    refused = answer(world.server(4.9), "go_on_after_trial", execution="run-1")
    assert (refused["started"], refused["command"]) == (False, "batch-processor --env stage approve run-1")
    assert world.states.answers == []
    said = answer(world.server(5), "go_on_after_trial", execution="run-1")
    assert (said["started"], said["worst_usd"], said["committed_usd"]) == (True, 5, 5)
    assert world.states.answers == [(TOKEN, {"approved": True})]


@pytest.mark.parametrize(("target", "most"), [(PRICED, 8.0), (TOKENS_PRICED, 22.0)], ids=["calls", "tokens"])
def test_a_limit_above_the_worst_case_counts_only_where_the_worst_case_is_not_known(
    world: World, target: Target, most: float
) -> None:
    world.waiting(limit=20, target=target)
    assert answer(world.server(100), "go_on_after_trial", execution="run-1")["worst_usd"] == most


def test_a_run_without_a_limit_asks_for_approval_after_its_trial(world: World) -> None:
    world.waiting()
    assert answer(world.server(1_000), "go_on_after_trial", execution="run-1")["approval_needed"]
    assert world.states.answers == []


def test_the_rounding_of_a_sum_does_not_exceed_the_budget() -> None:
    budget = Budget(0.3, lambda _: None)
    with budget.reserved(0.1 + 0.2, "run-1") as reserved:
        assert reserved == 0.1 + 0.2


@pytest.mark.parametrize("broken", [ThrottledError("slow down"), ServiceUnavailableError("no answer")])
@pytest.mark.parametrize("tool", ["start", "trial", "retry", "go_on_after_trial"])
def test_a_run_that_started_stays_in_the_budget_although_the_table_of_runs_cannot_be_asked(
    world: World, tool: str, broken: Exception
) -> None:
    server = world.server(10)
    world.waiting("night-run", limit=6)
    estimate = {"best_usd": 1.0, "worst_usd": 8.0, "target_worst_usd": 6.0}

    def retry(*_: Any, dry_run: bool = False, **__: Any) -> Retry:
        if not dry_run:
            world.table.broken = broken
        return Retry(retried="night-run", execution="again", rows=3, total_rows=9, estimate=estimate)

    def break_after(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            done = operation(*arguments, **named)
            if not json.loads(named.get("input", "{}")).get("dry_run"):
                world.table.broken = broken
            return done

        return call

    world.monkeypatch.setattr(retries, "retry", retry)
    world.monkeypatch.setattr(world.states, "start_execution", break_after(world.states.start_execution))
    world.monkeypatch.setattr(world.states, "send_task_success", break_after(world.states.send_task_success))
    asked = {"document": DOCUMENT} if tool in ("start", "trial") else {"execution": "night-run"}
    said = answer(server, tool, **asked)
    assert (said["started"], said["committed_usd"]) == (True, 8.0)
    assert answer(server, "start", document=DOCUMENT, name="another")["approval_needed"]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (refusal("AccessDeniedException", "StartExecution"), 0),
        (refusal("ThrottlingException", "StartExecution"), 0),
        (refusal("InternalFailure", "StartExecution"), 8.0),
        (ReadTimeoutError(endpoint_url="https://states"), 8.0),
        (NoCredentialsError(), 0),
        (S3UploadFailedError("no"), 0),
        (ServiceUnavailableError("read before the start"), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_an_error_that_says_that_no_run_started_gives_its_amount_back(
    world: World, error: Exception, kept: float
) -> None:
    def start_execution(*_: Any, **__: Any) -> None:
        raise error

    budget = Budget(10, lambda _: None)
    with pytest.raises(type(error)), budget.reserved(8.0, "run-1"):
        start_execution()
    assert budget.committed_usd == kept


def test_no_answer_has_the_token_of_an_approval(world: World) -> None:
    world.waiting()
    world.report(WHOLE)
    said = answer(world.server(), "status", execution="run-1")
    assert (said["state"], said["trial"]["whole"]["cost_usd"]["high"]) == ("WAITING_FOR_APPROVAL", 3)
    assert TOKEN not in json.dumps([said, answer(world.server(), "list_runs")])


def test_a_retry_is_bound_by_the_budget(world: World) -> None:
    world.waiting()
    retried: list[float | None] = []

    def retry(*_: Any, dry_run: bool = False, most_usd: float | None = None, **__: Any) -> Retry:
        assert dry_run is (most_usd is None)
        retried.append(most_usd)
        estimate = {"best_usd": 1.0, "worst_usd": 4.0, "target_worst_usd": 3.0}
        return Retry(retried="run-1", execution="run-1-retry-1", rows=3, total_rows=9, estimate=estimate)

    world.monkeypatch.setattr(retries, "retry", retry)
    said = answer(world.server(3), "retry", execution="run-1")
    assert (said["approval_needed"], said["command"]) == (True, "batch-processor --env stage retry run-1")
    assert retried == [None]
    assert answer(world.server(4), "retry", execution="run-1")["execution"] == "run-1-retry-1"
    assert retried == [None, None, 3.0]


@pytest.mark.parametrize(("cost", "starts"), [({"costUSD": 5.0}, True), ({"costUSD": 11.0}, False), ({}, False)])
def test_a_job_is_created_within_the_budget_only(world: World, cost: dict[str, float], starts: bool) -> None:
    created: list[Any] = []
    estimate = jobs.Estimate(violation_count=3, estimate=cost)
    world.monkeypatch.setattr(jobs, "estimate", lambda *_: estimate)

    def create(_: Any, config: Any) -> jobs.Creation:
        created.append(config)
        return jobs.Creation(job_id="job-1", message="created")

    world.monkeypatch.setattr(jobs, "create", create)
    said = answer(world.server(10), "create_job", config={})
    assert (said["started"], said["approval_needed"], len(created)) == (starts, not starts, int(starts))


def test_a_job_that_the_same_request_created_before_is_not_told_as_started(world: World) -> None:
    estimate = jobs.Estimate(violation_count=3, estimate={"costUSD": 1.0})
    world.monkeypatch.setattr(jobs, "estimate", lambda *_: estimate)
    there = jobs.Creation(job_id="job-1", message="created", repeated=True)
    world.monkeypatch.setattr(jobs, "create", lambda *_: there)
    said = answer(world.server(10), "create_job", config={})
    assert (said["started"], said["job_id"], said["message"]) == (
        False,
        "job-1",
        "The same request created this job a moment ago.",
    )


def test_an_expected_error_is_the_answer_of_the_tool(world: World) -> None:
    result = call(world.server(), "status", execution="nothing")
    assert result.is_error
    assert text(result).endswith(": There is no run nothing.")


def test_a_document_that_a_run_refuses_is_told_with_its_problems(world: World) -> None:
    result = call(world.server(), "start", document={**DOCUMENT, "surprise": 1})
    assert result.is_error
    assert "surprise" in text(result)
    assert world.states.started == []


def test_a_dry_run_that_fails_says_why(world: World) -> None:
    world.states.descriptions = [
        {"status": "FAILED", "error": "InvalidInputError", "cause": '{"errorMessage": "no row"}'}
    ]
    assert "No estimate: InvalidInputError: no row" in text(call(world.server(), "start", document=DOCUMENT))
    assert world.started == []


def test_a_dry_run_is_waited_for(world: World) -> None:
    world.states.descriptions.insert(0, {"status": "RUNNING"})
    waited: list[float] = []
    estimates.estimate(world.deployment, DOCUMENT, "planned", wait=waited.append)
    assert waited == [estimates.POLL_SECONDS]


def test_only_files_below_the_named_folder_are_uploaded(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (tmp_path / "outside.csv").write_text("a\n1\n")
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    for file in ("../outside.csv", str(tmp_path / "outside.csv"), "link.csv"):
        result = call(world.server(10, folder), "start", document=DOCUMENT, file=file)
        assert "is not below the folder" in text(result)
    assert "No file may be uploaded" in text(call(world.server(10), "start", document=DOCUMENT, file="rows.csv"))
    assert world.states.started == []


def test_a_stop_answers_as_soon_as_no_row_starts(world: World) -> None:
    stages = iter([stops.Stop(stage=stops.Stage.BRAKED)])
    world.monkeypatch.setattr(stops, "stop", lambda *_: (stage for stage in stages))
    assert "No further row starts" in answer(world.server(), "stop", execution="run-1")["message"]


def test_following_reports_progress_and_answers_when_the_run_has_ended(world: World) -> None:
    world.ended("run-1", cost_usd=1.5)
    ending = executions.Ending(status="FAILED", error="RowFailedError", cause="3 rows failed")
    looks = [Progress(execution="run-1", total=9, succeeded=done, failed=0) for done in (0, 3, 3, 7)]
    looks.append(Progress(execution="run-1", total=9, succeeded=7, failed=2, ending=ending))
    world.monkeypatch.setattr(following, "follow", lambda *_, wait: iter(looks))
    world.monkeypatch.setattr(following, "POLL_SECONDS", 0)
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def follow(client: Client) -> CallToolResult:
        return await client.call_tool("follow", {"execution": "run-1"}, progress_callback=note)

    said = talk(world.server(), follow).structured_content
    assert (said["ended"], said["error"], said["cause"]) == (True, "RowFailedError", "3 rows failed")
    assert said["run"]["state"] == "SUCCEEDED"
    assert told == [
        (0, 9, "0 rows done, 0 failed"),
        (3, 9, "3 rows done, 0 failed"),
        (7, 9, "7 rows done, 0 failed"),
        (9, 9, "9 rows done, 2 failed"),
    ]


def test_following_ends_with_a_question_or_when_its_time_is_over(world: World) -> None:
    world.waiting()
    world.report(WHOLE)
    now = datetime(2026, 11, 27, tzinfo=UTC)
    asked = Progress(execution="run-1", approval=Approval(token=TOKEN, asked_at=now, until=now))
    running = [Progress(execution="run-1")] * 9
    world.monkeypatch.setattr(following, "POLL_SECONDS", 0.3)
    for looks in ([*running[:1], asked], running):
        world.monkeypatch.setattr(following, "follow", lambda *_, wait, looks=looks: iter(looks))
        said = answer(world.server(), "follow", execution="run-1", seconds=1)
        assert (said["ended"], said["run"]["state"]) == (False, "WAITING_FOR_APPROVAL")


def test_an_execution_that_does_not_exist_cannot_be_followed(world: World) -> None:
    world.states.descriptions = []
    assert "There is no execution nothing." in text(call(world.server(), "follow", execution="nothing"))


def test_the_command_serves_without_a_budget_unless_one_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outputs, served = tmp_path / "outputs.json", list[tuple[Any, ...]]()
    outputs.write_text(json.dumps(OUTPUTS))
    monkeypatch.setattr(mcp_server, "server", lambda *given: given)
    monkeypatch.setattr(mcp_server, "serve", lambda made, port, _: served.append((*made[1:], port)))
    assert run_command(monkeypatch, "--outputs", str(outputs), "mcp") == 0
    assert run_command(monkeypatch, "--outputs", str(outputs), "mcp", "--budget-usd", "5", "--http") == 0
    assert served == [(0, None, None), (5, None, 8765)]
