"""Every kind of target: complete, and the same in Python, in Terraform and in the state machine."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest

from foundation.errors import DeploymentError, InvalidInputError
from row_batches.document.batch_config import BatchConfig, TargetReference
from row_batches.document.input_document import parse_batch_config
from row_batches.document.plan import Concurrency, Target
from row_batches.rows.records import RowStatus
from row_batches.targets.kind import Processor, RowCall, TargetKind
from row_batches.targets.kinds import KINDS, kind_of, parse_document
from row_batches.targets.usage import Load, Usage
from row_batches.targets.worker_kind import WorkerKind
from tests.support.terraform_files import REPOSITORY

TERRAFORM = REPOSITORY / "terraform"
VARIABLES = (TERRAFORM / "variables.tf").read_text()
REGISTRY = (TERRAFORM / "modules" / "registry" / "main.tf").read_text()
PARTS = [name for name in TargetKind.__annotations__ if name != "execution_actions"]
CALL = RowCall("run-1", "target", 5, 100, 2)

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def arn(kind: TargetKind) -> str:
    example = kind.arn_example.replace("<region>", "eu-west-1").replace("<account>", "123456789012")
    return example.replace("<name>", "target")


def document(kind: TargetKind, **execution_config: Any) -> dict[str, Any]:
    target = {"type": kind.type, "name": "target", "arn": arn(kind)}
    return {"csv_s3_uri": "s3://bucket/key.csv", "target": target, "execution_config": execution_config}


def config(kind: TargetKind, **execution_config: Any) -> BatchConfig:
    return parse_document(document(kind, **execution_config))


class NoFunctions:
    """No function may be asked for, but by the kind that calls functions."""

    def timeout_seconds(self, arn: str) -> int:
        assert ":function:" in arn, f"{arn} is no function"
        return 900

    def code(self, arn: str) -> str:
        assert ":function:" in arn, f"{arn} is no function"
        return "a function's"


class NoMachines:
    """As ``NoFunctions``, for state machines."""

    def code(self, arn: str) -> str:
        assert ":stateMachine:" in arn, f"{arn} is no state machine"
        return "a machine's"


def test_no_two_kinds_have_one_name_and_every_type_of_a_document_has_a_kind() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {kind.type for kind in KINDS} == set(get_args(TargetReference.model_fields["type"].annotation))


@each_kind
def test_a_kind_has_every_part(kind: TargetKind) -> None:
    for part in PARTS:
        assert getattr(kind, part, None) not in (None, "", ()), (
            f"{type(kind).__name__} lacks {part}: see TargetKind.{part}"
        )
    assert kind.processor is not Processor.NONE
    assert type(kind).__doc__, f"{type(kind).__name__} lacks a docstring: what it is sent, and what it answers"
    assert isinstance(kind, WorkerKind) == (kind.processor is Processor.TOOL), "process_tool_rows needs an invoker"


@each_kind
def test_a_kind_is_found_by_the_invocation_of_a_target(kind: TargetKind) -> None:
    target = Target.model_validate({"name": "target", "type": kind.type, "arn": arn(kind), "invocation": kind.name})
    assert kind_of(target) is kind


def test_an_invocation_that_is_no_kind_is_a_fault_of_the_deployment_that_names_the_kinds() -> None:
    target = Target(name="target", type="tool", arn="arn", invocation="telepathy")
    with pytest.raises(DeploymentError, match=r"telepathy.*lambda, express, standard"):
        kind_of(target)


@each_kind
def test_a_request_is_json_and_an_answer_in_the_documented_form_is_a_success(kind: TargetKind) -> None:
    request = json.loads(json.dumps(kind.request(CALL, {"a": 1})))
    assert request["input"] == {"a": 1}
    answers = {
        "tool": {"type": "tool_result", "tool_use_id": request.get("id"), "content": {"b": 2}},
        "agent": {"result": "Success", "data": {"b": 2}, "metadata": {}},
    }
    for read in (kind.read(answers[kind.type], CALL), kind.read_kept(answers[kind.type])):
        assert (read.status, read.payload) == (RowStatus.SUCCESS, {"b": 2})


@each_kind
@pytest.mark.parametrize("answer", ["text", None, [], {"a": 1}])
def test_any_other_answer_is_a_bare_payload_and_an_error_fails_the_row(kind: TargetKind, answer: Any) -> None:
    assert kind.read(answer, CALL).notes == {"off_protocol": 1}
    assert kind.read({"error": "no"}, CALL).status is RowStatus.FAILED


@each_kind
def test_a_kind_plans_within_max_concurrency_and_prices_what_it_plans(kind: TargetKind) -> None:
    settings = config(kind, max_concurrency=60)
    target = Target.model_validate({"name": "target", "type": kind.type, "arn": arn(kind), "invocation": kind.name})
    planned = kind.concurrency(settings, target, 1_000, 100)
    assert 1 <= planned.children * planned.threads <= 60
    best, worst = (
        kind.usage(kind.assumed(settings, planned, Load(1_000, 100_000, 0.2, all_fail))) for all_fail in (False, True)
    )
    for part in Usage.__dataclass_fields__:
        assert 0 <= getattr(best, part) <= getattr(worst, part), part
    assert (best.calls, worst.calls) == (1_000, 3_000)
    one = Concurrency(children=1, threads=1, batch_size=1)
    assert kind.usage(kind.assumed(settings, one, Load(0, 0, 0.2))) == Usage()


@each_kind
def test_a_rows_time_is_limited_as_the_kind_says(kind: TargetKind) -> None:
    most = kind.most_timeout_seconds
    assert kind.timeout_problem(most) is None
    problem = kind.timeout_problem(most + 1)
    assert problem is not None
    assert (problem.path, problem.message) == ("execution_config.timeout_seconds", kind.timeout_reason)
    assert str(most) in problem.fix


@each_kind
def test_no_more_rows_are_in_flight_than_document_and_registry_allow(kind: TargetKind) -> None:
    fields = {"name": "target", "type": kind.type, "arn": arn(kind), "invocation": kind.name}
    for limit, most in ((None, 60), (5, 5), (100, 60)):
        target = Target.model_validate({**fields, "max_concurrency": limit})
        planned = kind.concurrency(config(kind, max_concurrency=60), target, 1_000, 100)
        assert planned.children * planned.threads == most


@each_kind
def test_the_longest_that_a_call_runs_is_known(kind: TargetKind) -> None:
    target = Target.model_validate({"name": "target", "type": kind.type, "arn": arn(kind), "invocation": kind.name})
    assert kind.call_seconds(config(kind), target, NoFunctions()) > 0


@each_kind
def test_the_warnings_of_a_kind_are_sentences(kind: TargetKind) -> None:
    target = Target.model_validate({"name": "target", "type": kind.type, "arn": arn(kind), "invocation": kind.name})
    assert all(said.endswith(".") for said in kind.warnings(config(kind), target, NoFunctions()))


@each_kind
def test_a_kind_knows_where_the_version_of_its_code_is_read(kind: TargetKind) -> None:
    target = Target.model_validate({"name": "target", "type": kind.type, "arn": arn(kind), "invocation": kind.name})
    assert kind.code(target, NoFunctions(), NoMachines()) in ("a function's", "a machine's")


# --- documents


@each_kind
def test_a_document_may_name_an_arn_of_the_kind_and_no_other(kind: TargetKind) -> None:
    assert parse_document(document(kind)).target.arn == arn(kind)
    given = document(kind)
    for wrong in ("arn:aws:s3:::bucket", arn(kind) + ":*", f"{arn(kind)}:live:2", ""):
        given["target"]["arn"] = wrong
        with pytest.raises(InvalidInputError) as refusal:
            parse_document(given)
        (problem,) = refusal.value.problems
        assert (problem.path, problem.message) == ("target.arn", f"not the ARN of {kind.resource}")
        assert kind.arn_example in problem.fix


def test_a_tools_row_has_less_time_than_an_agents_and_other_mistakes_do_not_hide_it() -> None:
    by_name = {kind.name: kind for kind in KINDS}
    assert config(by_name["standard"], timeout_seconds=31_536_000)
    given = document(by_name["lambda"], timeout_seconds=841, max_concurrency=0)
    with pytest.raises(InvalidInputError) as refusal:
        parse_document(given)
    assert [problem.path for problem in refusal.value.problems] == [
        "execution_config.max_concurrency",
        "execution_config.timeout_seconds",
    ]
    assert "at most 840 seconds" in refusal.value.problems[1].message
    with pytest.raises(InvalidInputError) as too_long:
        parse_document(document(by_name["standard"], timeout_seconds=31_536_001))
    assert [problem.path for problem in too_long.value.problems] == ["execution_config.timeout_seconds"]


@pytest.mark.parametrize("given", [None, [], "text", {"target": 5}, {"target": {"type": 5, "arn": 5}}])
def test_what_has_no_target_is_refused_without_a_word_about_kinds(given: Any) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        parse_document(given)
    assert not any("ARN" in problem.message for problem in refusal.value.problems)


def test_the_model_of_the_document_alone_leaves_kinds_to_this_registry() -> None:
    tool = next(kind for kind in KINDS if kind.name == "lambda")
    assert parse_batch_config(document(tool, timeout_seconds=900)).execution_config.timeout_seconds == 900


# --- Terraform


@each_kind
def test_terraform_takes_the_kind_for_its_type(kind: TargetKind) -> None:
    allowed = re.search(r'target\.type == "tool" \? (\[.*?\]) : (\[.*?\]), target\.invocation', VARIABLES)
    assert allowed, "variable targets validates the invocations of each type"
    invocations = dict(zip(("tool", "agent"), (json.loads(names) for names in allowed.groups()), strict=True))
    assert kind.name in invocations[kind.type], f"variable targets refuses invocation {kind.name}"
    assert {name for names in invocations.values() for name in names} == {known.name for known in KINDS}


@each_kind
def test_terraform_takes_the_arns_that_the_kind_takes(kind: TargetKind) -> None:
    patterns = re.search(r'target\.type == "tool" \? "(\^arn.*?\$)" : "(\^arn.*?\$)"', VARIABLES)
    assert patterns, "variable targets validates the ARNs of each type"
    pattern = dict(zip(("tool", "agent"), patterns.groups(), strict=True))[kind.type]
    for example in (arn(kind), f"{arn(kind)}:live", f"{arn(kind)}:*", f"{arn(kind)}:a:b", "arn:aws:s3:::bucket"):
        assert bool(re.search(pattern, example)) == bool(re.fullmatch(kind.arn_pattern, example)), example


@each_kind
def test_terraform_grants_the_actions_of_the_kind_and_no_others(kind: TargetKind) -> None:
    if isinstance(kind, WorkerKind):
        pairs = re.search(r"for action, invocation in \{(.*?)\} :", REGISTRY)
        assert pairs, "the registry grants an action for each synchronous invocation"
        granted = {invocation: action for action, invocation in re.findall(r'"([\w:]+)" = "(\w+)"', pairs.group(1))}
        assert (granted.get(kind.name),) == kind.call_actions, f"the registry's grants for {kind.name}"
        assert set(granted) == {known.name for known in KINDS if isinstance(known, WorkerKind)}
        assert not kind.execution_actions
        return
    text = REGISTRY[REGISTRY.index(f"{kind.name}_documents = ") :]
    lists = [tuple(json.loads(found)) for found in re.findall(r"Action\s*=\s*(\[.*?\])", text)[:2]]
    assert lists == [kind.call_actions, kind.execution_actions]


@each_kind
def test_terraform_lets_validate_input_read_what_the_kind_reads(kind: TargetKind) -> None:
    text = REGISTRY[REGISTRY.index("inspect_documents = ") :]
    granted = {name: tuple(json.loads(found)) for name, found in re.findall(r"(agent|tool)\s*=\s*(\[.*?\])", text)[:2]}
    assert granted[kind.type] == kind.inspect_actions
