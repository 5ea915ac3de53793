"""The use case of ``validate_input``, on fakes: what is refused and how, what is planned."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from foundation.errors import DeliveryError, DeploymentError, InvalidInputError, ObjectNotFoundError
from row_batches.document.batch_config import Rate
from row_batches.document.deployment_config import KEY
from row_batches.document.plan import Concurrency, CostRange, EarlierExecution, Plan, Target, TargetPrices
from row_batches.document.s3_location import S3Location
from row_batches.files import hashed_inputs, xlsx_output
from row_batches.files.ports import InputObject
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import MAX_FILE_BYTES
from row_batches.mapping.models import DeclaredColumn
from row_batches.run.input_messages import ExecutionReference, MapSettings, ValidateRequest, ValidateResponse
from row_batches.run.messages import ObjectVersion
from row_batches.run.runs import Counts, Run, RunEnding, RunState
from row_batches.run.validate_input import validate_input
from row_batches.targets.kind import Processor
from tests.support.batches import WorkStore
from tests.support.fakes import FakeDeadline, FakeOutputObjects, FakeRuns

CODE = "qNqEZb0e8kLm"
REVISION = "0f3c-revisio"
CSV = b"id,text\n1,one\n2,two\n3,three\n"
PREFIX = "arn:aws:states:eu-west-1:123456789012:stateMachine:"
ECHO_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:echo"
REGISTRY = [
    Target(name="echo", type="tool", arn=ECHO_ARN, invocation="lambda"),
    Target(name="echo_canary", type="tool", arn=f"{ECHO_ARN}:canary", invocation="lambda", version="2"),
    Target(name="retired", type="tool", arn=f"{ECHO_ARN}-old", invocation="lambda", enabled=False),
    Target(name="classifier", type="agent", arn=f"{PREFIX}classifier", invocation="standard"),
    Target(name="quick", type="agent", arn=f"{PREFIX}quick", invocation="express"),
]


class FakeInputs:
    def __init__(self, objects: dict[tuple[str, str], bytes]) -> None:
        self.objects = objects
        self.denied = False
        self.chunk_bytes = 1024 * 1024
        self.size: int | None = None
        self.read = 0

    def head(self, location: S3Location) -> InputObject:
        if self.denied:
            raise DeploymentError(f"s3:GetObject on s3://{location.bucket}/{location.key} was denied")
        if location not in self.objects:
            raise ObjectNotFoundError("no such key")
        return InputObject(location, self.size or len(self.objects[location]), '"etag"')

    def objects_under(self, bucket: str, prefix: str) -> Iterator[InputObject]:
        for of, key in sorted(self.objects):
            if of == bucket and key.startswith(prefix):
                yield InputObject(S3Location(of, key), len(self.objects[of, key]), f'"{key}"')

    def stream(self, found: InputObject, start: int = 0) -> Iterator[bytes]:
        self.read += 1
        body = self.objects[found.location][start:]
        for at in range(0, len(body), self.chunk_bytes):
            yield body[at : at + self.chunk_bytes]


class FakeWork(WorkStore):
    """A store with objects of earlier executions, ``<key>`` or ``<key>?<version>``."""

    def __init__(self) -> None:
        super().__init__()
        self.earlier: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        return self.earlier[key] if key in self.earlier and key not in self.objects else super().get(key)

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        earlier = self.earlier.get(f"{key}?{version_id}")
        yield from super().read(key, version_id, start) if earlier is None else [earlier[start:]]


class FakeTargets:
    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets

    def get(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)

    def all(self) -> list[Target]:
        return self.targets


class FakeFunctions:
    def timeout_seconds(self, arn: str) -> int:
        assert ":lambda:" in arn
        return 60

    def code(self, arn: str) -> str:
        assert ":lambda:" in arn
        return "qNqEZb0e8kLmAndMore="


class FakeMachines:
    def code(self, arn: str) -> str:
        assert ":stateMachine:" in arn
        return f"{REVISION}n"


class FakeExecutions:
    def __init__(self) -> None:
        self.running: set[str] = set()

    def is_running(self, arn: str) -> bool:
        return arn in self.running


class World:
    """A deployment with the registry above and one file; ``document`` is valid until a test changes it."""

    def __init__(self) -> None:
        self.inputs = FakeInputs({("uploads", "data.csv"): CSV})
        self.work = FakeWork()
        self.outputs = FakeOutputObjects(self.work, ["theirs", "uploads", "results"])
        self.runs = FakeRuns()
        self.executions = FakeExecutions()
        self.registry = list(REGISTRY)
        self.deadline = FakeDeadline()
        self.document: dict[str, Any] = {
            "csv_s3_uri": "s3://uploads/data.csv",
            "target": {"type": "tool", "name": "echo"},
            "execution_config": {"max_concurrency": 10},
        }

    def file(self, data: bytes, key: str = "data.csv", bucket: str = "uploads") -> None:
        self.inputs.objects[bucket, key] = data

    def validate(self) -> ValidateResponse:
        request = ValidateRequest(
            execution=ExecutionReference(
                arn="arn:aws:states:eu-west-1:123456789012:execution:batch-processor:run-1",
                name="run-1",
                started_at=datetime(2026, 1, 2, tzinfo=UTC),
            ),
            input=copy.deepcopy(self.document),
        )
        return validate_input(
            request,
            inputs=self.inputs,
            work=self.work,
            targets=FakeTargets(self.registry),
            functions=FakeFunctions(),
            machines=FakeMachines(),
            executions=self.executions,
            runs=self.runs,
            input_buckets=["uploads", "shared-uploads"],
            outputs=self.outputs,
            output_buckets=["theirs", "gone", "uploads"],
            work_retention_days=7,
            deadline=self.deadline,
        )

    def refusal(self) -> InvalidInputError:
        with pytest.raises(InvalidInputError) as error:
            self.validate()
        assert self.work.objects == {}, "nothing is written when the input is refused"
        return error.value

    @property
    def plan(self) -> Plan:
        return Plan.model_validate_json(self.work.objects["work/run-1/plan.json"])


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("output", [(), (DeclaredColumn(name="label"),)], ids=["without output", "with output"])
def test_the_stored_plan_lacks_the_output_of_the_target_which_the_release_before_refuses(
    world: World, output: tuple[DeclaredColumn, ...]
) -> None:
    world.registry = [target.model_copy(update={"output": output}) for target in REGISTRY]

    world.validate()

    target = json.loads(world.work.objects["work/run-1/plan.json"])["target"]
    assert target["name"] == "echo"
    assert "output" not in target


def test_a_valid_input_is_staged_and_planned(world: World) -> None:
    response = world.validate()

    assert response == ValidateResponse(
        execution_id="run-1",
        plan_key="work/run-1/plan.json",
        processor=Processor.TOOL,
        dry_run=False,
        total_rows=3,
        staged=ObjectVersion(bucket="results", key="work/run-1/input.csv", version_id="v1"),
        map=MapSettings(max_concurrency=1, batch_size=3),
        map_prefix="work/run-1/map",
    )
    staged = world.work.objects["work/run-1/input.csv"]
    assert list(read_staged([staged])) == [(1, ["1", "one"]), (2, ["2", "two"]), (3, ["3", "three"])]
    assert world.plan.columns == ["id", "text"]
    assert world.plan.output_header[:3] == ["id", "text", "result"]
    assert world.plan.staged.size_bytes == len(staged)
    assert world.plan.staged.source_etag == '"etag"'
    assert world.plan.warnings == []


def test_a_second_call_for_the_same_execution_answers_the_same(world: World) -> None:
    first = world.validate()
    second = world.validate()

    # The staged copy has been written again; the plan names its new version.
    assert second.model_copy(update={"staged": first.staged}) == first
    assert world.plan.staged.version_id == second.staged.version_id


@pytest.mark.parametrize(
    ("name", "kind", "processor", "children"),
    [("echo", "tool", "TOOL", 1), ("quick", "agent", "TOOL", 1), ("classifier", "agent", "AGENT", 10)],
)
def test_the_target_chooses_the_processor(world: World, name: str, kind: str, processor: str, children: int) -> None:
    world.document["target"] = {"type": kind, "name": name}

    response = world.validate()

    assert (response.processor, response.map.max_concurrency) == (processor, children)


@pytest.mark.parametrize("data", [b"id,text\n", b"id,text"])
def test_a_header_alone_leaves_nothing_to_process_and_is_said(world: World, data: bytes) -> None:
    world.file(data)

    response = world.validate()

    assert (response.processor, response.total_rows) == (Processor.NONE, 0)
    assert world.work.objects["work/run-1/input.csv"] == b"r,c1,c2\n"
    assert world.plan.warnings == ["The file has a header and no rows."]


MAPPED = {"name": "x", "source": "$.x"}


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"csv_s3_uri": "s3://uploads/missing.csv"}, "csv_s3_uri", "does not exist"),
        ({"csv_s3_uri": "s3://elsewhere/data.csv"}, "csv_s3_uri", "input_buckets"),
        ({"csv_s3_uri": "s3://results/work/run-0/input.csv"}, "csv_s3_uri", "input_buckets"),
        ({"csv_s3_uri": "data.csv"}, "csv_s3_uri", "s3://"),
        ({"csv_s3_uri": "s3://uploads/\ud800"}, "csv_s3_uri", "surrogate"),
        ({"output_s3_uri": "theirs/out/"}, "output_s3_uri", "s3://<bucket>/<folder>/"),
        ({"output_s3_uri": "s3://theirs/out.csv"}, "output_s3_uri", "names a file"),
        ({"output_s3_uri": "s3://elsewhere/out/"}, "output_s3_uri", "the Terraform variable output_buckets"),
        ({"output_s3_uri": "s3://results/results/"}, "output_s3_uri", "own results bucket"),
        ({"output_s3_uri": "s3://gone/out/"}, "output_s3_uri", "create the bucket"),
        ({"target": {"type": "tool", "name": "echo", "arn": f"{ECHO_ARN}\ud800"}}, "target.arn", "surrogate"),
        ({"target": {"type": "tool", "name": "ehco"}}, "target.name", "did you mean echo?"),
        ({"target": {"type": "tool", "name": "zzz"}}, "target.name", "known: classifier, echo, echo_canary, quick"),
        ({"target": {"type": "tool", "name": "retired"}}, "target.name", "disabled"),
        ({"target": {"type": "agent", "name": "echo"}}, "target.type", "registered as tool"),
        ({"target": {"type": "tool", "name": "echo", "arn": f"{ECHO_ARN}-other"}}, "target.arn", "not allow"),
        ({"target": {"type": "tool", "name": "echo", "arn": f"{ECHO_ARN}-old"}}, "target.arn", "not allow"),
        ({"target": {"type": "agent", "name": "quick", "arn": ECHO_ARN}}, "target.arn", "state machine"),
        ({"input_mapping": {"column_mappings": {"txet": "t"}}}, "input_mapping.column_mappings.txet", "text"),
        (
            {"output_mapping": {"columns": [{"name": "x", "source": "$["}]}},
            "output_mapping.columns[0].source",
            "JSONPath",
        ),
        (
            {"output_mapping": {"columns": [{"name": "id", "source": "$.id"}]}},
            "output_mapping.columns[0].name",
            "column",
        ),
        (
            {"output_mapping": {"columns": [{**MAPPED, "name": f"x{i}"} for i in range(1001)]}},
            "output_mapping.columns",
            "1,000",
        ),
        ({"output_mapping": {"columns": [MAPPED, MAPPED]}}, "output_mapping.columns[1].name", "twice"),
        ({"ouput_mapping": {}}, "ouput_mapping", "output_mapping"),
        ({"execution_config": {"max_concurrency": 0}}, "execution_config.max_concurrency", "1"),
        ({"execution_config": {"max_concurrency": "5"}}, "execution_config.max_concurrency", "number"),
    ],
)
def test_a_mistake_in_the_document_is_named_with_its_path_and_a_fix(
    world: World, change: dict[str, Any], path: str, said: str
) -> None:
    world.document |= change

    problem, *others = world.refusal().problems

    assert problem.path == path
    assert said in str(problem)
    assert problem.fix
    assert others == []


@pytest.mark.parametrize(
    ("source", "folder", "formats"),
    [
        ("in/", "in/", "csv"),
        ("in/", "in/out/", "csv"),
        ("in/2026-*/*.csv", "in/", "csv"),
        ("in/*/*", "in", "csv"),
        ("in/*/failed*.csv", "in/", "csv"),
        ("in/*/*.json", "in/", "csv"),
        ("*/output.csv", "", "csv"),
        ("in/*/*.xlsx", "in/", ["csv", "xlsx"]),
        ("in/*/output/*.parquet", "in/", "parquet"),
        ("in/*/*/*/output.csv", "in/", "csv"),
        ("run-1/", "", "csv"),
        ("in/run-1/*.csv", "in/", "csv"),
    ],
)
def test_results_cannot_go_where_a_later_run_of_the_same_document_reads_them(
    world: World, source: str, folder: str, formats: Any
) -> None:
    world.document |= {"csv_s3_uri": f"s3://uploads/{source}", "output_s3_uri": f"s3://uploads/{folder}"}
    world.document["output_format"] = {"type": formats}

    problem = next(problem for problem in world.refusal().problems if problem.path == "output_s3_uri")

    assert "would read the results as input" in problem.message
    assert problem.fix == "name a folder that csv_s3_uri does not match"


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("in/", "out/"),
        ("in/", ""),
        ("in/", "in/_out/"),
        ("in/*.csv", "in/results/"),
        ("in/*.csv", "in/"),
        ("*.csv", "out/"),
        ("in/*/*.xlsx", "in/"),
        ("in/2026/*.csv", "in/"),
        ("in/*/rows*.csv", "in/"),
        ("in/a.csv", "in/"),
    ],
)
def test_results_can_go_beside_the_input_where_no_run_reads_them(world: World, source: str, folder: str) -> None:
    keys = ("a.csv", "in/a.csv", "in/x/a.xlsx", "in/x/rows.csv", "in/2026/a.csv")
    world.inputs.objects = {("uploads", key): CSV for key in keys}
    world.document |= {"csv_s3_uri": f"s3://uploads/{source}", "output_s3_uri": f"s3://uploads/{folder}"}
    world.document["input_format"] = {"type": "csv"}

    world.validate()


def test_a_dry_run_tries_the_destination_and_says_where_the_results_would_go(world: World) -> None:
    world.document |= {"output_s3_uri": "s3://theirs/out", "dry_run": True}

    document = world.validate().document

    assert document is not None
    assert document["delivery"] == {"s3_uri": "s3://theirs/out/run-1/", "status": "TRIED", "reason": ""}


def test_a_destination_is_tried_also_when_another_part_has_a_mistake_and_nothing_is_written_there(
    world: World,
) -> None:
    world.document |= {"output_s3_uri": "s3://theirs/out", "target": {"type": "tool", "name": "zzz"}}
    world.outputs.refusal = DeliveryError("s3:PutObject is denied", "allow it")

    problems = world.refusal().problems
    world.outputs.refusal = None
    world.document["target"] = {"type": "tool", "name": "echo"}
    world.validate()

    assert [problem.path for problem in problems] == ["target.name", "output_s3_uri"]
    assert str(problems[1]) == "output_s3_uri: s3:PutObject is denied (got s3://theirs/out). Fix: allow it"
    assert (world.outputs.objects, world.outputs.open_uploads) == ({}, [])


def test_an_unknown_target_is_named_beside_a_mistake_in_its_type(world: World) -> None:
    world.document["target"] = {"type": "tools", "name": "echoo"}

    assert [problem.path for problem in world.refusal().problems] == ["target.type", "target.name"]


@pytest.mark.parametrize("bucket", ["uploads", "elsewhere"])
def test_the_signature_of_a_presigned_address_is_not_repeated(world: World, bucket: str) -> None:
    world.document["csv_s3_uri"] = f"s3://{bucket}/missing.csv?X-Amz-Signature=0123"

    (problem,) = world.refusal().problems

    assert problem.value == f"s3://{bucket}/missing.csv"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"id,text\n1,2\n3\n", "line 3 (1)"),
        (b'id,text\n5" disk,x\n', "line 2"),
        (b"id,text\n1,\xff\n", "not UTF-8"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(world: World, data: bytes, said: str) -> None:
    world.file(data)

    (problem,) = world.refusal().problems

    assert problem.path == "csv_s3_uri"
    assert said in str(problem)
    assert problem.fix


def test_mistakes_in_document_target_header_and_rows_are_named_together(world: World) -> None:
    world.file(b"id,text\n1\n")
    world.document["target"]["name"] = "ehco"
    world.document["input_mapping"] = {"column_mappings": {"txet": "t"}}

    assert [problem.path for problem in world.refusal().problems] == [
        "target.name",
        "input_mapping.column_mappings.txet",
        "csv_s3_uri",
    ]

    world.document["execution_config"]["max_concurrency"] = 0

    # The sections without a mistake are held against the CSV all the same.
    assert [problem.path for problem in world.refusal().problems] == [
        "execution_config.max_concurrency",
        "target.name",
        "input_mapping.column_mappings.txet",
        "csv_s3_uri",
    ]


@pytest.mark.parametrize("document", [None, "text", [], {"target": 5, "csv_s3_uri": 5}, {"target": {"name": 1}}])
def test_a_document_of_another_shape_is_refused(world: World, document: Any) -> None:
    world.document = document

    assert world.refusal().problems


def test_a_file_over_10_gb_is_refused_unread(world: World) -> None:
    world.inputs.size = MAX_FILE_BYTES + 1

    assert "10,000,000,001 bytes" in str(world.refusal())
    assert world.inputs.read == 0


def test_a_denied_permission_is_the_deployment_s_fault(world: World) -> None:
    world.inputs.denied = True

    with pytest.raises(DeploymentError, match="s3:GetObject"):
        world.validate()


def test_an_allowed_arn_overrides_the_registered_one(world: World) -> None:
    world.document["target"]["arn"] = f"{ECHO_ARN}:canary"

    world.validate()

    assert (world.plan.target.name, world.plan.target.arn) == ("echo", f"{ECHO_ARN}:canary")


def test_results_of_an_earlier_run_can_be_submitted_where_they_lie(world: World) -> None:
    world.file(b"id,text,_error_message\n1,one,failed\n", "results/run-0/failed_rows.csv", "results")
    world.document["csv_s3_uri"] = "s3://results/results/run-0/failed_rows.csv"

    assert world.validate().total_rows == 1
    assert world.plan.output_header.count("_error_message") == 1
    assert world.plan.warnings == ["Columns of an earlier output are not mapped and are replaced: _error_message."]


def test_a_workbook_that_one_call_cannot_write_is_refused_before_any_row_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx_output, "MAX_CELLS", 5)
    world.document["output_format"] = {"type": ["csv", "xlsx"]}

    with pytest.raises(InvalidInputError) as refused:
        world.validate()

    (problem,) = refused.value.problems
    assert not any(key.endswith("plan.json") for key in world.work.objects)
    assert problem.path == "output_format.type"
    assert "enough for 5 cells" in problem.message
    world.document["output_format"] = {"type": "csv"}
    world.validate()


def limit_registry(world: World, name: str, **limits: Any) -> None:
    world.registry = [target.model_copy(update=limits) if target.name == name else target for target in world.registry]


def test_a_limit_of_a_cost_that_nobody_knows_is_refused(world: World) -> None:
    limit_registry(world, "echo", cost_per_call_usd=None)
    world.document["execution_config"] = {"stop_after": {"cost_usd": 5}}

    (problem,) = world.refusal().problems

    assert problem.path == "execution_config.stop_after.cost_usd"
    assert problem.message == "the cost of echo is not known"


@pytest.mark.parametrize(
    "registered",
    [
        {"cost_per_call_usd": 0.0},
        {"prices": TargetPrices(input_usd_per_million_tokens=1, output_usd_per_million_tokens=2)},
    ],
    ids=["calls", "tokens"],
)
def test_a_limit_of_a_known_cost_is_planned(world: World, registered: dict[str, Any]) -> None:
    limit_registry(world, "echo", **registered)
    world.document["execution_config"] = {"stop_after": {"cost_usd": 5}}

    world.validate()

    assert world.plan.config.execution_config.cost_limit == 5


@pytest.mark.parametrize(("rows", "has_trial"), [(19, True), (20, False)])
def test_a_trial_is_run_unless_it_would_have_all_rows(world: World, rows: int, has_trial: bool) -> None:
    world.file(b"id,text\n" + b"".join(b"%d,a\n" % row for row in range(20)))
    world.document["trial"] = {"rows": rows}

    response = world.validate()

    assert response.trial is has_trial
    assert response.approval_seconds == (7 * 86_400 if has_trial else 0)
    said = "Only 20 rows are sent: all of them run at once, without a trial."
    assert (said in world.plan.warnings) is not has_trial


def test_a_trial_of_an_inline_run_is_refused_and_auto_takes_s3(world: World) -> None:
    world.document |= {"trial": {"rows": 1}, "execution_config": {"storage_mode": "inline"}}
    (problem,) = world.refusal().problems
    assert problem.path == "execution_config.storage_mode"
    assert problem.message == "an inline run has few rows, so it has no trial"

    world.document["execution_config"] = {"storage_mode": "auto"}
    world.validate()
    assert world.plan.storage.mode == "s3"


def test_a_dry_run_has_no_trial(world: World) -> None:
    world.document |= {"trial": {"rows": 1}, "dry_run": True}
    assert not world.validate().trial


def test_the_limits_of_the_target_are_planned_and_named(world: World) -> None:
    limit_registry(world, "echo", max_concurrency=5, rate=Rate(rows_per_minute=300))
    world.file(b"id,text\n" + b"1,a\n" * 20)

    world.validate()

    concurrency = world.plan.concurrency
    assert concurrency.children * concurrency.threads == 5
    assert world.plan.call_seconds == FakeFunctions().timeout_seconds(ECHO_ARN)
    assert world.plan.warnings == [
        "The registry limits echo to 5 rows in flight over all runs, less than max_concurrency (10); "
        "the runs in progress share it equally.",
        "The registry limits echo to 300 rows a minute over all runs; the runs in progress share it equally.",
    ]


def test_limits_of_the_target_above_those_of_the_run_need_no_word(world: World) -> None:
    limit_registry(world, "echo", max_concurrency=50, rate=Rate(rows_per_minute=300))
    world.document["execution_config"]["rate"] = {"rows_per_minute": 60}

    world.validate()

    assert world.plan.warnings == []


def test_a_standard_agent_with_a_rate_has_a_child_for_each_row_and_no_more_than_the_rate_keeps_busy(
    world: World,
) -> None:
    world.file(b"id,text\n" + b"1,a\n" * 200)
    world.document["target"] = {"type": "agent", "name": "classifier"}
    world.document["execution_config"] = {
        "max_concurrency": 100,
        "timeout_seconds": 60,
        "rate": {"rows_per_minute": 10},
    }

    world.validate()

    assert world.plan.concurrency == Concurrency(children=11, threads=1, batch_size=1)


def test_warnings_tell_what_a_user_would_not_expect(world: World) -> None:
    world.file(b"id;text\n1;one\n2;two\n3;three\n")
    world.document["execution_config"] = {"max_rows": 2, "timeout_seconds": 30, "max_concurrency": 31}

    response = world.validate()

    assert response.total_rows == 2
    delimiter, trial, timeout = world.plan.warnings
    assert "semicolon" in delimiter
    assert "first 2 rows" in trial
    assert "60 s" in timeout


SCHEMA = {
    "agent": "echo",
    "version": "3",
    "output_format": "mixed",
    "fields": [
        {"name": "exchange", "extraction": [{"type": "structured"}]},
        {"name": "speed", "type": "number", "default": -1, "extraction": [{"type": "direct", "path": "$.speeds.down"}]},
    ],
}


def with_schema(world: World, schema: dict[str, Any]) -> None:
    world.registry[0] = REGISTRY[0].model_copy(
        update={"output_schema": "echo", "output_schema_document": json.dumps(schema)}
    )


def test_a_batch_that_names_no_columns_gets_those_of_the_targets_schema_and_the_plan_pins_its_version(
    world: World,
) -> None:
    with_schema(world, SCHEMA)

    world.validate()

    plan = world.plan
    mapping = plan.config.output_mapping
    assert [(column.name, column.type, column.default) for column in mapping.mapped_columns] == [
        ("exchange", "string", ""),
        ("speed", "number", -1),
    ]
    assert [method.method for method in mapping.extraction_methods] == ["structured_output", "direct"]
    assert plan.output_header[2:4] == ["exchange", "speed"]
    assert plan.output_schema is not None
    assert (plan.output_schema.agent, plan.output_schema.version) == ("echo", "3")
    assert plan.effective_config["output_mapping.extraction_methods"]["source"] == "schema"


def test_columns_of_the_document_come_before_those_of_the_schema_whose_methods_still_hold(world: World) -> None:
    with_schema(world, SCHEMA)
    world.document["output_mapping"] = {"columns": [{"name": "place", "source": "$.exchange"}]}

    world.validate()

    mapping = world.plan.config.output_mapping
    assert [column.name for column in mapping.mapped_columns] == ["place"]
    assert len(mapping.extraction_methods) == 2


@pytest.mark.parametrize("own", [[], [{"method": "direct", "field_mappings": {"own": "$.own"}}]])
def test_methods_of_the_document_replace_the_schema(world: World, own: list[Any]) -> None:
    with_schema(world, SCHEMA)
    world.document["output_mapping"] = {"extraction_methods": own}

    world.validate()

    assert [column.name for column in world.plan.config.output_mapping.mapped_columns] == (["own"] if own else [])
    assert world.plan.output_schema is None


def test_methods_of_the_deployment_come_before_the_schema(world: World) -> None:
    with_schema(world, SCHEMA)
    methods = [{"method": "direct", "field_mappings": {"theirs": "$.theirs"}}]
    config = {"output_mappings": {"echo": {"extraction_methods": methods}}}
    world.work.earlier[KEY] = json.dumps(config).encode()

    world.validate()

    assert [column.name for column in world.plan.config.output_mapping.mapped_columns] == ["theirs"]
    assert world.plan.output_schema is None


def test_a_column_of_the_schema_that_the_csv_has_says_where_it_comes_from(world: World) -> None:
    with_schema(world, SCHEMA | {"fields": [{"name": "text", "extraction": [{"type": "direct"}]}]})

    with pytest.raises(InvalidInputError, match="the value is that of the schema echo, version 3"):
        world.validate()


def test_a_registered_schema_that_is_not_valid_is_the_deployments_fault(world: World) -> None:
    with_schema(world, SCHEMA | {"fields": []})

    with pytest.raises(DeploymentError, match="schema echo of the target echo is not valid: fields: is empty"):
        world.validate()


def test_concurrency_that_cannot_be_used_is_said(world: World) -> None:
    world.file(b"id,text\n" + b"1,one\n" * 100)
    world.document["execution_config"] = {"max_concurrency": 31, "timeout_seconds": 60}

    world.validate()

    assert world.plan.warnings == ["At most 30 rows are in flight, not 31."]


def test_a_run_is_kept_from_its_beginning_and_starts_once(world: World) -> None:
    world.validate()
    world.runs.count("run-1", Counts(succeeded=1))
    world.validate()

    run = world.runs.get("run-1")
    assert run is not None
    assert (run.state, run.total_rows, run.plan_key) == (RunState.RUNNING, 3, "work/run-1/plan.json")
    assert run.counts == Counts(succeeded=1)
    assert run.estimate_usd == world.plan.estimate.total.best


def test_a_dry_run_answers_with_plan_and_estimate(world: World) -> None:
    world.document |= {"dry_run": True, "output_mapping": {"columns": [MAPPED], "add_metadata": False}}

    response = world.validate()

    assert response.dry_run
    assert world.runs.get("run-1") is None, "nothing runs"
    assert response.document is not None
    assert response.document["status"] == "DRY_RUN"
    assert response.document["total_rows"] == 3
    assert response.document["columns"] == ["id", "text"]
    assert response.document["output_columns"] == ["id", "text", "x"]
    assert response.document["concurrency"] == {"children": 1, "threads": 3, "batch_size": 3}
    assert response.document["estimate"]["total"]["best"] > 0


def test_a_dry_run_of_very_many_columns_fits_into_an_execution_s_output(world: World) -> None:
    names = [f"{'long name ' * 20}{i}" for i in range(900)]
    world.file(",".join(names).encode() + b"\n")
    world.document["dry_run"] = True

    response = world.validate()

    assert response.document is not None
    assert response.document["column_count"] == 900
    assert 0 < len(response.document["columns"]) < 900
    assert len(response.model_dump_json()) < 100_000


def test_an_express_agent_is_given_no_more_time_than_it_can_run(world: World) -> None:
    world.document["target"] = {"type": "agent", "name": "quick"}
    world.document["execution_config"]["timeout_seconds"] = 301

    assert [problem.path for problem in world.refusal().problems] == ["execution_config.timeout_seconds"]


def test_a_run_that_may_outlive_its_finished_rows_is_warned_of(world: World) -> None:
    world.document["execution_config"] |= {"timeout_seconds": 800, "max_concurrency": 1}
    world.file(b"id,text\n" + b"1,x\n" * 1_000)
    world.validate()

    assert any("work_retention_days" in warning for warning in world.plan.warnings)


def test_the_plan_has_the_hash_of_the_file_as_it_was_read(world: World) -> None:
    world.file(b"id,text\n1,one\n2,two\n")
    world.validate()
    (whole,) = world.plan.read
    world.document["execution_config"]["max_rows"] = 1
    world.validate()
    (start,) = world.plan.read

    assert whole.sha256 == hashlib.sha256(b"id,text\n1,one\n2,two\n").hexdigest()
    assert (whole.uri, whole.etag, whole.size_bytes) == (world.document["csv_s3_uri"], '"etag"', 20)
    assert start.sha256 in ("", whole.sha256), "a file that is read in one chunk is read to its end"


# --- resume_from

EARLIER_ARN = "arn:aws:states:eu-west-1:123456789012:execution:batch-processor:earlier"


def after_an_earlier_run(
    world: World, *, not_attempted: int = 1, failed: int = 0, ended: bool = True, **changes: Any
) -> Plan:
    """``world`` with what an execution of the same document left, and its document resuming it."""
    world.validate()
    execution = world.plan.execution.model_copy(update={"name": "earlier", "arn": EARLIER_ARN})
    earlier = world.plan.model_copy(update={"execution": execution, **changes})
    world.work.earlier["work/earlier/plan.json"] = earlier.model_dump_json().encode()
    if ended:
        counts = {"succeeded": 0 if failed else 2, "failed": failed, "not_attempted": not_attempted}
        summary = {"total_rows": 3, "status": "FAILED", **counts}
        world.work.earlier["results/earlier/summary.json"] = orjson.dumps(summary)
    world.work.objects.clear()
    world.document["execution_config"]["resume_from"] = "earlier"
    return earlier


@pytest.mark.parametrize("name", ["earlier", EARLIER_ARN])
def test_a_batch_can_resume_an_earlier_one(world: World, name: str) -> None:
    earlier = after_an_earlier_run(world)
    world.document["execution_config"]["resume_from"] = name

    world.validate()

    expected = EarlierExecution(
        name="earlier",
        batch_size=earlier.concurrency.batch_size,
        target_version="1@qNqEZb0e8kLm",
        batch_name=earlier.config.batch_name,
        storage=earlier.storage,
    )
    assert world.plan.resume_from == [expected]
    (warning,) = world.plan.warnings
    assert warning.startswith("2 of the 3 rows of earlier were successful")
    assert "earlier" in world.plan.estimate.assumptions[-1]
    assert world.plan.estimate.total.worst == earlier.estimate.total.worst
    assert world.plan.estimate.total.best < earlier.estimate.total.best


def test_rows_of_causes_that_are_not_chosen_are_planned_as_rows_that_are_not_called(world: World) -> None:
    causes = [{"id": "Boom-1", "error": "Boom", "count": 1}, {"id": "Slow-1", "error": "Slow", "count": 1}]
    after_an_earlier_run(world)
    summary = {"total_rows": 3, "succeeded": 1, "not_attempted": 0, "failures_by_cause": causes}
    world.work.earlier["results/earlier/summary.json"] = orjson.dumps(summary)
    world.document["execution_config"]["only_causes"] = ["Boom-1"]
    world.document["dry_run"] = True

    planned = world.validate().document or {}

    assert planned["rows_to_run"] == 1
    assert (
        "1 rows of earlier failed for causes that only_causes does not name: they stay failed." in planned["warnings"]
    )

    world.work.objects.clear()
    world.document["execution_config"]["only_causes"] = ["Slow", "Unknown"]
    (problem,) = world.refusal().problems
    assert (problem.path, problem.value) == ("execution_config.only_causes[1]", "Unknown")
    assert "Boom-1, Slow-1" in problem.fix


def test_causes_without_an_earlier_run_are_refused(world: World) -> None:
    world.document["execution_config"]["only_causes"] = ["Boom"]

    (problem,) = world.refusal().problems

    assert problem.path == "execution_config.only_causes"


def staged_by(world: World, earlier: Plan) -> None:
    """The next execution takes the rows that ``earlier`` staged; the user's file is another one by now."""
    staged = earlier.staged
    world.work.earlier[f"{staged.key}?{staged.version_id}"] = (
        b'r,c1,c2\n"1","1","one"\n"2","2","two"\n"3","3","three"\n'
    )
    world.file(b"id,text\n9,nine\n")
    world.document["csv_s3_uri"] = f"s3://results/{staged.key}"


def test_equal_inputs_are_staged_once_and_the_plan_counts_them(world: World) -> None:
    world.file(b"id,text\n1,one\n2,two\n3,one\n4,one\n")
    world.document["input_mapping"] = {"column_mappings": {"text": "text"}}
    world.document["execution_config"]["max_concurrency"] = 1
    world.validate()
    whole = world.plan
    world.document["execution_config"]["deduplicate"] = True

    response = world.validate()

    distinct = world.plan.distinct
    assert distinct is not None
    assert (distinct.rows, distinct.runs, world.plan.total_rows, world.plan.rows_sent) == (2, 2, 4, 2)
    assert response.staged == ObjectVersion(
        bucket="results", key="work/run-1/distinct.csv", version_id=distinct.version_id
    )
    assert world.work.objects["work/run-1/distinct.csv"] == b'r,c1,c2\n"1","1","one"\n"2","2","two"\n'
    assert len(world.work.objects["work/run-1/duplicates.bin"]) == 16
    assert "4 rows, 2 distinct: equal inputs are sent once." in world.plan.warnings
    assert world.plan.estimate.parts["lambda"].best < whole.estimate.parts["lambda"].best

    world.document["execution_config"]["storage_mode"] = "inline"
    (child,) = world.validate().children
    assert [item["r"] for item in child.Items] == ["1", "2"]

    world.document["dry_run"] = True
    planned = world.validate().document or {}
    assert (planned["total_rows"], planned["distinct_rows"], planned["rows_to_run"]) == (4, 2, 2)


def test_the_rows_that_an_earlier_run_staged_are_run_again_whatever_became_of_the_file(world: World) -> None:
    earlier = after_an_earlier_run(world)
    earlier = earlier.model_copy(update={"staged": earlier.staged.model_copy(update={"key": "work/earlier/input.csv"})})
    world.work.earlier["work/earlier/plan.json"] = earlier.model_dump_json().encode()
    staged_by(world, earlier)

    world.validate()

    assert [row for row, _ in read_staged([world.work.objects["work/run-1/input.csv"]])] == [1, 2, 3]
    assert (world.plan.columns, world.plan.total_rows) == (["id", "text"], 3)
    assert world.plan.staged.key == "work/run-1/input.csv"
    assert (world.plan.staged.source_etag, world.plan.staged.size_bytes) == ('"etag"', earlier.staged.size_bytes)
    assert world.plan.taken_over == 2


def test_the_worst_cost_of_a_retry_counts_only_the_rows_that_run(world: World) -> None:
    earlier = after_an_earlier_run(world)
    earlier = earlier.model_copy(update={"staged": earlier.staged.model_copy(update={"key": "work/earlier/input.csv"})})
    world.work.earlier["work/earlier/plan.json"] = earlier.model_dump_json().encode()

    def planned() -> tuple[CostRange, str]:
        world.work.objects.clear()
        world.validate()
        return world.plan.estimate.total, world.plan.estimate.assumptions[-1]

    of_file, said_of_file = planned()
    staged_by(world, earlier)
    of_retry, said_of_retry = planned()
    world.document["input_mapping"] = {"static_values": {"lang": "de"}}
    of_other_fields, _ = planned()

    assert of_file.worst == earlier.estimate.total.worst
    assert "worst: none is" in said_of_file
    assert of_retry.worst < 0.6 * of_file.worst  # one of three rows, and what every run costs
    assert "worst: 2 are" in said_of_retry
    assert of_other_fields.worst >= of_file.worst


def test_rows_that_another_run_staged_are_refused(world: World) -> None:
    after_an_earlier_run(world)
    world.document["csv_s3_uri"] = "s3://results/work/other/input.csv"

    (problem,) = world.refusal().problems

    assert problem.path == "csv_s3_uri"


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"max_rows": 2}, "execution_config.max_rows", "all 3 rows that earlier staged are used"),
        ({}, "csv_s3_uri", "have expired"),
        ({"resume_from": "unknown"}, "execution_config.resume_from", "no execution of this name"),
    ],
)
def test_staged_rows_that_cannot_be_taken_are_refused(
    world: World, change: dict[str, Any], path: str, said: str
) -> None:
    earlier = after_an_earlier_run(world)
    earlier = earlier.model_copy(update={"staged": earlier.staged.model_copy(update={"key": "work/earlier/input.csv"})})
    world.work.earlier["work/earlier/plan.json"] = earlier.model_dump_json().encode()
    world.document["csv_s3_uri"] = "s3://results/work/earlier/input.csv"
    world.document["execution_config"] |= change

    (problem,) = world.refusal().problems

    assert problem.path == path
    assert said in problem.message


def chained(world: World, *runs: tuple[str, int, int]) -> None:
    """Executions before ``earlier``, each of which resumed the next: name, rows, rows not started."""
    earlier = Plan.model_validate_json(world.work.earlier["work/earlier/plan.json"])
    names = [name for name, _, _ in runs]
    for (name, total_rows, not_attempted), resumed in zip(runs, [*names[1:], None], strict=True):
        chain = [EarlierExecution(name=resumed, batch_size=1)] if resumed else []
        execution = earlier.execution.model_copy(update={"name": name})
        plan = earlier.model_copy(update={"execution": execution, "total_rows": total_rows, "resume_from": chain})
        world.work.earlier[f"work/{name}/plan.json"] = plan.model_dump_json().encode()
        summary = {"total_rows": total_rows, "succeeded": 1, "not_attempted": not_attempted}
        world.work.earlier[f"results/{name}/summary.json"] = orjson.dumps(summary)
    first = earlier.model_copy(update={"resume_from": [EarlierExecution(name=names[0], batch_size=1)]})
    world.work.earlier["work/earlier/plan.json"] = first.model_dump_json().encode()


@pytest.mark.parametrize(
    ("not_attempted", "ended", "resumed"), [(0, True, ["earlier"]), (1, True, None), (0, False, None)]
)
def test_an_earlier_run_that_was_stopped_leads_to_what_it_resumed_itself(
    world: World, not_attempted: int, ended: bool, resumed: list[str] | None
) -> None:
    # An earlier run that came to all its rows has taken over what there was.
    after_an_earlier_run(world, not_attempted=not_attempted, ended=ended)
    chained(world, *((f"before-{number}", 3, 1) for number in range(12)))

    world.validate()

    expected = resumed or ["earlier", *(f"before-{number}" for number in range(9))]
    assert [earlier.name for earlier in world.plan.resume_from] == expected


def test_behind_a_trial_the_chain_is_followed_while_rows_of_this_run_are_not_covered(world: World) -> None:
    after_an_earlier_run(world, not_attempted=0, total_rows=2)
    chained(world, ("second", 2, 0), ("whole", 3, 0), ("before", 3, 0))

    world.validate()

    assert [earlier.name for earlier in world.plan.resume_from] == ["earlier", "second", "whole"]


def test_behind_a_run_whose_rows_failed_by_its_own_mapping_the_chain_is_followed(world: World) -> None:
    after_an_earlier_run(world, not_attempted=0, failed=3)
    chained(world, ("answered", 3, 0), ("before", 3, 0))

    world.validate()

    assert [earlier.name for earlier in world.plan.resume_from] == ["earlier", "answered"]


def test_a_schema_that_has_changed_since_the_run_that_is_resumed_is_said_with_its_columns(world: World) -> None:
    with_schema(world, SCHEMA)
    earlier = after_an_earlier_run(world)
    fields = [SCHEMA["fields"][0], {"name": "town", "extraction": [{"type": "structured"}]}]
    with_schema(world, {**SCHEMA, "version": 4, "fields": fields})
    frozen = earlier.config.model_dump(mode="json")["output_mapping"]
    changes = "The schema echo is version 4 now, and was 3 in earlier (new: town; gone: speed)."

    for mapping, columns in (({}, "exchange, town"), (frozen, "exchange, speed")):
        world.document["output_mapping"] = mapping
        world.validate()
        (said,) = [warning for warning in world.plan.warnings if "schema" in warning]
        assert said == f"{changes} This run has the columns {columns}."


def test_a_chain_ends_where_its_answers_have_expired(world: World) -> None:
    after_an_earlier_run(world)
    chained(world, ("kept", 3, 1), ("expired", 3, 1))
    del world.work.earlier["work/expired/plan.json"]

    world.validate()

    assert [earlier.name for earlier in world.plan.resume_from] == ["earlier", "kept"]


def test_what_makes_fewer_rows_be_taken_over_is_said_before_any_row_runs(world: World) -> None:
    older = REGISTRY[0].model_copy(update={"version": "0", "code_version": CODE})
    after_an_earlier_run(world, ended=False, total_rows=4, target=older)
    world.document["dry_run"] = True

    warnings = (world.validate().document or {})["warnings"]

    assert [warning.split(":")[0] for warning in warnings] == [
        "earlier left no output, so the number of its successful rows is not known.",
        "The CSV has 3 rows, and that of earlier has 4. Rows are matched by number, so submit the whole CSV, not "
        "failed_rows.csv.",
        f"echo is version 1@{CODE}; earlier has answers of version 0@{CODE}, which are taken over as they are.",
    ]


@pytest.mark.parametrize(
    ("of_earlier", "said"),
    [
        ({f"1@{CODE}": 2}, []),
        (
            {f"1@{CODE}": 1, f"0@{CODE}": 1},
            [f"echo is version 1@{CODE}; earlier has 1 answers of version 0@{CODE}, which are taken over as they are."],
        ),
        # Answers of an earlier release, which kept no code: they stay usable, and are said to be unknown.
        (
            {"1": 1, "": 1},
            [
                f"echo is version 1@{CODE}; earlier has 1 answers of version unknown@unknown, which are taken over as "
                "they are.",
                f"echo is version 1@{CODE}; earlier has 1 answers of version 1@unknown, which are taken over as they "
                "are.",
            ],
        ),
    ],
)
def test_answers_of_other_versions_are_counted_though_the_run_that_took_them_over_had_this_one(
    world: World, of_earlier: dict[str, int], said: list[str]
) -> None:
    after_an_earlier_run(world, not_attempted=0)
    summary = {"total_rows": 3, "succeeded": 2, "not_attempted": 0, "target_versions": of_earlier}
    world.work.earlier["results/earlier/summary.json"] = orjson.dumps(summary)

    world.validate()

    assert world.plan.warnings[1:] == said


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [("tool", "echo", CODE), ("agent", "classifier", REVISION), ("agent", "quick", REVISION)],
)
@pytest.mark.parametrize(
    ("of_earlier", "named"),
    [
        ({"now": 1, "older": 1}, "version 1@older (earlier: 1 answers)"),
        ({"first": 1, "second": 1}, "version 1@first (earlier: 1 answers), version 1@second (earlier: 1 answers)"),
    ],
)
def test_answers_of_other_code_are_taken_over_only_when_that_is_accepted(
    world: World, kind: str, name: str, code: str, of_earlier: dict[str, int], named: str
) -> None:
    world.document["target"] = {"type": kind, "name": name}
    of_earlier = {f"1@{code if of == 'now' else of}": count for of, count in of_earlier.items()}
    after_an_earlier_run(world, not_attempted=0)
    summary = {"total_rows": 3, "succeeded": 2, "not_attempted": 0, "target_versions": of_earlier}
    world.work.earlier["results/earlier/summary.json"] = orjson.dumps(summary)

    (problem,) = world.refusal().problems

    assert problem.path == "execution_config.resume_from"
    assert problem.message == f"{name} is version 1@{code}; the answers to take over are also of {named}"
    assert "execution_config.accept_version: true" in problem.fix
    world.document["execution_config"]["accept_version"] = True
    world.validate()
    assert sum("taken over as they are" in warning for warning in world.plan.warnings) == len(
        of_earlier.keys() - {f"1@{code}"}
    )


def test_a_run_that_still_goes_on_is_not_resumed(world: World) -> None:
    after_an_earlier_run(world)
    world.executions.running = {EARLIER_ARN}

    (problem,) = world.refusal().problems

    assert (problem.path, problem.value) == ("execution_config.resume_from", "earlier")
    assert "it still runs" in problem.message


def test_a_run_that_has_ended_and_is_still_being_put_together_is_not_resumed(world: World) -> None:
    earlier = after_an_earlier_run(world, ended=False)
    world.runs.start(Run.of_plan(earlier))

    (problem,) = world.refusal().problems

    assert "its output is still being written" in problem.message
    world.runs.end(
        "earlier", RunEnding(state=RunState.STOPPED, counts=Counts(), ended_at=datetime(2026, 1, 3, tzinfo=UTC))
    )
    world.validate()


def other_fields(world: World) -> None:
    world.document["input_mapping"] = {"column_mappings": {"text": "words"}}


def other_static_value(world: World) -> None:
    world.document["input_mapping"]["static_values"] = {"tone": "formal"}


def nothing_succeeded(world: World) -> None:
    summary = {"total_rows": 3, "succeeded": 0, "not_attempted": 0}
    world.work.earlier["results/earlier/summary.json"] = orjson.dumps(summary)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (other_fields, "the mapped input has other fields than in that run (new: words; gone: text, tone)"),
        (other_static_value, "static_values gives other values than in that run to tone"),
        (nothing_succeeded, "none of its 3 rows was successful"),
    ],
)
def test_that_no_row_can_be_taken_over_is_said_with_the_reason_before_any_row_runs(
    world: World, change: Any, because: str
) -> None:
    world.document["input_mapping"] = {"column_mappings": {"text": "text"}, "static_values": {"tone": "plain"}}
    after_an_earlier_run(world, not_attempted=0)
    change(world)

    world.validate()

    assert world.plan.warnings == [f"No row is taken over from earlier, because {because}: all rows are run."]


def test_a_trial_can_be_resumed_and_be_one(world: World) -> None:
    after_an_earlier_run(world)
    world.document["execution_config"]["max_rows"] = 2

    world.validate()

    assert not [warning for warning in world.plan.warnings if "failed_rows.csv" in warning]


@pytest.mark.parametrize(
    ("resume_from", "gone", "said", "fix"),
    [
        ("run-1", "", "cannot resume itself", "earlier one"),
        ("unknown", "", "no execution of this name", "make run"),
        ("earlier", "work/earlier/plan.json", "have expired", "work_retention_days"),
        (EARLIER_ARN.replace(":batch-processor:", ":other:"), "", f"is {EARLIER_ARN}", "correct the ARN"),
    ],
)
def test_an_execution_that_cannot_be_resumed_is_refused(
    world: World, resume_from: str, gone: str, said: str, fix: str
) -> None:
    after_an_earlier_run(world)
    world.work.earlier.pop(gone, None)
    world.document["execution_config"]["resume_from"] = resume_from

    (problem,) = world.refusal().problems

    assert (problem.path, problem.value) == ("execution_config.resume_from", resume_from)
    assert said in problem.message
    assert fix in problem.fix


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"arn": f"{ECHO_ARN}:canary"}, {"type": "agent"}, {"invocation": "express"}],
)
def test_answers_of_another_target_are_refused(world: World, change: dict[str, Any]) -> None:
    after_an_earlier_run(world, target=REGISTRY[0].model_copy(update=change))

    (problem,) = world.refusal().problems

    assert problem.path == "execution_config.resume_from"
    assert "another target" in problem.message


def test_a_dry_run_has_nothing_to_resume(world: World) -> None:
    world.document["dry_run"] = True
    after_an_earlier_run(world, ended=False)

    (problem,) = world.refusal().problems

    assert "dry run" in problem.message


def test_a_plan_of_another_version_is_refused(world: World) -> None:
    after_an_earlier_run(world)
    world.work.earlier["work/earlier/plan.json"] = b'{"schema_version": 2}'

    (problem,) = world.refusal().problems

    assert "another version" in problem.message


def test_a_mistake_elsewhere_does_not_hide_that_of_the_earlier_execution(world: World) -> None:
    after_an_earlier_run(world)
    world.document["csv_s3_uri"] = "s3://uploads/missing.csv"
    world.document["execution_config"]["resume_from"] = "unknown"

    assert [problem.path for problem in world.refusal().problems] == ["csv_s3_uri", "execution_config.resume_from"]


def test_a_plan_from_before_there_was_anything_to_resume_is_read(world: World) -> None:
    world.validate()
    written = orjson.loads(world.work.objects["work/run-1/plan.json"])
    del written["resume_from"]

    assert Plan.model_validate(written) == world.plan


def test_a_bad_source_is_the_only_problem_when_the_csv_has_a_column_result(world: World) -> None:
    world.file(b"id,result\n1,one\n")
    world.document["output_mapping"] = {"columns": [{"name": "answer", "source": "$["}]}

    assert [problem.path for problem in world.refusal().problems] == ["output_mapping.columns[0].source"]


def test_rows_behind_max_rows_are_not_checked_when_another_setting_is_bad(world: World) -> None:
    world.file(b"id,text\n1,one\n2,two,too many\n")
    world.document["execution_config"] = {"max_rows": 1, "batch_size": 0}

    assert [problem.path for problem in world.refusal().problems] == ["execution_config.batch_size"]


# --- the deployment's configuration


def configure(world: World, **config: Any) -> None:
    world.work.earlier[KEY] = orjson.dumps(config)


def test_the_deployments_defaults_are_pinned_in_the_plan_with_their_source(world: World) -> None:
    configure(world, defaults={"max_concurrency": 3, "timeout_seconds": 45})
    world.validate()

    settings = world.plan.config.execution_config
    assert (settings.max_concurrency, settings.timeout_seconds) == (10, 45)
    effective = world.plan.effective_config
    assert effective["execution_config.max_concurrency"] == {"value": 10, "source": "document"}
    assert effective["execution_config.timeout_seconds"] == {"value": 45, "source": "deployment"}
    assert effective["execution_config.batch_size"] == {"value": 100, "source": "default"}
    assert effective["output_mapping.extraction_methods"] == {"value": [], "source": "default"}


def test_the_deployments_extraction_of_the_target_gives_the_columns(world: World) -> None:
    method = {"method": "results_array", "field_mappings": {"title": "results[0].title"}}
    configure(world, output_mappings={"echo": {"extraction_methods": [method]}})
    world.validate()

    assert world.plan.config.output_columns == ["title"]
    methods = world.plan.effective_config["output_mapping.extraction_methods"]
    assert methods == {"value": ["results_array"], "source": "deployment"}


def test_a_dry_run_shows_what_holds(world: World) -> None:
    configure(world, storage_mode="auto")
    world.document["dry_run"] = True
    document = world.validate().document
    assert document is not None
    assert document["effective_config"]["execution_config.storage_mode"] == {"value": "auto", "source": "deployment"}


def test_a_default_that_the_target_does_not_allow_is_said_to_be_the_deployments(world: World) -> None:
    configure(world, defaults={"timeout_seconds": 1_200})
    (problem,) = world.refusal().problems
    assert problem.path == "execution_config.timeout_seconds"
    assert problem.message.endswith("the value is the deployment's, from batch-processor-config.yaml")


def test_a_configuration_that_is_not_valid_is_the_deployments_fault(world: World) -> None:
    configure(world, default={})
    with pytest.raises(DeploymentError, match=r"unknown field.*did you mean defaults.*make config-check"):
        world.validate()


# --- rows without content


def test_rows_without_content_are_neither_planned_nor_paid_for(world: World) -> None:
    world.validate()
    before = world.plan.estimate
    world.file(CSV + b",\n , \n" * 600 + b",")

    response = world.validate()

    plan = world.plan
    assert (response.total_rows, response.map.batch_size) == (1204, 3)
    assert (plan.total_rows, plan.rows_sent, plan.rows_to_run) == (1204, 3, 3)
    assert plan.warnings == ["1,201 rows have no content and are skipped."]
    assert plan.estimate == before
    staged = world.work.objects["work/run-1/input.csv"]
    assert [row for row, _ in read_staged([staged])] == [1, 2, 3]
    skipped = world.work.objects["work/run-1/skipped.csv"]
    assert list(read_staged([skipped]))[:2] == [(4, ["", ""]), (5, [" ", " "])]


def test_a_dry_run_says_how_many_rows_have_no_content(world: World) -> None:
    world.file(CSV + b",\n")
    world.document["dry_run"] = True

    document = world.validate().document or {}

    assert (document["total_rows"], document["skipped"], document["rows_to_run"]) == (4, 1, 3)
    assert document["warnings"] == ["1 row has no content and is skipped."]


def test_a_file_of_rows_without_content_has_nothing_to_process(world: World) -> None:
    world.file(b"id,text\n,\n,\n")

    response = world.validate()

    assert (response.processor, response.total_rows) == (Processor.NONE, 2)


@pytest.mark.parametrize("dry_run", [True, False])
def test_rows_without_content_are_refused_on_request(world: World, dry_run: bool) -> None:
    world.file(CSV + b",\n" * 7)
    world.document |= {"input_format": {"empty_rows": "refuse"}, "dry_run": dry_run}

    (problem,) = world.refusal().problems

    assert (problem.path, problem.value) == ("input_format.empty_rows", "row 4, 5, 6, 7, 8, …")
    assert problem.message == "7 rows have no content"


def test_equal_inputs_are_counted_among_the_rows_with_content(world: World) -> None:
    world.file(b"id,text\n1,one\n,\n1,one\n,\n2,two\n")
    world.document["execution_config"]["deduplicate"] = True

    world.validate()

    assert world.plan.rows_sent == 2
    assert world.plan.warnings == [
        "2 rows have no content and are skipped.",
        "3 rows, 2 distinct: equal inputs are sent once.",
    ]


# --- several files


def test_a_folder_of_files_is_read_as_one_file(world: World) -> None:
    world.validate()
    one = world.work.objects["work/run-1/input.csv"]
    for number, row in enumerate(CSV.splitlines()[1:]):
        world.file(b"id,text\n" + row, key=f"in/part-{number}.csv")
    world.file(b"", key="in/_SUCCESS")
    world.document["csv_s3_uri"] = "s3://uploads/in/"

    response = world.validate()

    assert response.total_rows == 3
    assert world.work.objects["work/run-1/input.csv"] == one
    assert world.plan.staged.source_etag.startswith("sha256:")
    assert world.plan.warnings == [
        "3 files are read as one, part-0.csv to part-2.csv.",
        "Hidden and empty objects are skipped: _SUCCESS.",
    ]


def test_rows_without_content_stay_so_with_the_name_of_their_file(world: World) -> None:
    world.file(CSV + b",\n")
    world.document |= {"csv_s3_uri": "s3://uploads/d*.csv", "input_format": {"source_column": "file"}}

    world.validate()

    assert world.plan.columns == ["id", "text", "file"]
    assert world.plan.rows_skipped == 1
    assert list(read_staged([world.work.objects["work/run-1/skipped.csv"]])) == [(4, ["", "", "data.csv"])]


def test_an_address_without_objects_is_refused(world: World) -> None:
    world.document["csv_s3_uri"] = "s3://uploads/nothing/"

    (problem,) = world.refusal().problems

    assert (problem.value, problem.message) == ("s3://uploads/nothing/", "no object matches")


def test_several_files_can_only_be_in_an_input_bucket(world: World) -> None:
    world.document["csv_s3_uri"] = "s3://results/results/run-0/"

    (problem,) = world.refusal().problems

    assert problem.message == "the deployment does not allow this bucket"


def test_the_input_has_another_name(world: World) -> None:
    world.document["input_s3_uri"] = world.document.pop("csv_s3_uri")
    assert world.validate().total_rows == 3
    assert world.plan.config.csv_s3_uri == "s3://uploads/data.csv"


def test_problems_of_the_input_have_the_name_that_was_written(world: World) -> None:
    world.document["input_s3_uri"] = "s3://uploads/gone.csv"
    del world.document["csv_s3_uri"]

    (problem,) = world.refusal().problems

    assert problem.path == "input_s3_uri"


def test_both_names_of_the_input_are_one_too_many(world: World) -> None:
    world.document["input_s3_uri"] = "s3://uploads/data.csv"

    (problem,) = world.refusal().problems

    assert (problem.path, problem.message) == ("input_s3_uri", "csv_s3_uri is given too, and both name the input")


# --- several calls


@pytest.mark.parametrize("settings", [{}, {"deduplicate": True}])
@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("hashed_part_bytes", [90_000, 1_000_000])
def test_an_input_that_takes_several_calls_gets_the_same_plan(
    world: World,
    settings: dict[str, Any],
    dry_run: bool,
    hashed_part_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hashed_inputs, "HASHED_PART_BYTES", hashed_part_bytes)
    lines = b"".join(b"%d,text %d\n,\n" % (row, row % 5) for row in range(20_000))
    world.file(b"id,text\n" + lines)
    world.document["dry_run"] = dry_run
    world.document["input_mapping"] = {"column_mappings": {"text": "text"}}
    world.document["execution_config"] |= settings
    expected = world.validate()
    plan = world.plan
    world.work = FakeWork()
    world.inputs.chunk_bytes = 50_000

    calls = 1
    world.deadline = FakeDeadline(900.0, 900.0, 0.0)
    while not (response := world.validate()).done:
        assert "work/run-1/plan.json" not in world.work.objects
        calls += 1
        world.deadline = FakeDeadline(900.0, 900.0, 0.0)

    assert calls > 2
    versions = {"staged": None, "skipped": None, "distinct": None}
    assert all(read.is_hashed for read in plan.read)
    assert world.plan.model_copy(update=versions) == plan.model_copy(update=versions)
    assert (world.plan.rows_skipped, world.plan.rows_sent) == (plan.rows_skipped, plan.rows_sent)
    assert response.model_copy(update={"staged": None}) == expected.model_copy(update={"staged": None})


def test_the_files_of_a_folder_that_takes_several_calls_all_have_their_hashes(world: World) -> None:
    for name in "abc":
        lines = b"".join(b"%d,text\n" % row for row in range(6_000))
        world.inputs.objects["uploads", f"in/{name}.csv"] = b"id,text\n" + lines
    world.document["csv_s3_uri"] = "s3://uploads/in/"
    world.inputs.chunk_bytes = 50_000
    calls, done = 0, False
    while not done:
        world.deadline = FakeDeadline(900.0, 900.0, 100.0)
        done = world.validate().done
        calls += 1

    assert calls > 3
    assert [read.sha256 for read in world.plan.read] == [
        hashlib.sha256(world.inputs.objects["uploads", f"in/{name}.csv"]).hexdigest() for name in "abc"
    ]
