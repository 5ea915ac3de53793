"""What holds for a batch: its own document, else the deployment's configuration, else the default."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import DeploymentError, Problem
from row_batches.document.deployment_config import DeploymentConfig, read_deployment_config
from row_batches.document.effective import Completed, complete

METHODS = [{"method": "results_array", "field_mappings": {"title": "results[0].title"}}]
OWN = [{"method": "direct", "field_mappings": {"title": "title"}}]


def completed(document: Any, **deployment: Any) -> Completed:
    return complete(document, DeploymentConfig.model_validate(deployment))


def execution(document: Any, **deployment: Any) -> Any:
    return completed(document, **deployment).document.get("execution_config")


def test_what_the_document_leaves_out_comes_from_the_deployment() -> None:
    done = completed(
        {"execution_config": {"max_concurrency": 5}}, defaults={"max_concurrency": 20, "timeout_seconds": 60}
    )
    assert done.document == {"execution_config": {"max_concurrency": 5, "timeout_seconds": 60}}
    assert done.sources == {
        "execution_config.max_concurrency": "document",
        "execution_config.timeout_seconds": "deployment",
    }


def test_a_field_of_the_document_replaces_the_deployments_as_a_whole() -> None:
    own = {"retry_policy": {"backoff_rate": 3.0}, "stop_after": {"failed_rows": 1}, "rate": None}
    defaults = {
        "retry_policy": {"max_attempts": 1},
        "stop_after": {"failed_percent": 5},
        "rate": {"rows_per_minute": 5},
    }
    assert execution({"execution_config": own}, defaults=defaults) == own


@pytest.mark.parametrize("document", [{}, {"execution_config": None}])
def test_a_document_without_the_section_gets_all_of_it(document: dict[str, Any]) -> None:
    assert execution(document, defaults={"batch_size": 7}) == {"batch_size": 7}


@pytest.mark.parametrize("document", [None, [], "text", {"execution_config": 5}, {"output_mapping": []}])
def test_what_is_wrong_stays_for_the_documents_own_checks(document: Any) -> None:
    assert completed(document).document == document


def test_the_storage_mode_of_the_document_wins() -> None:
    assert execution({}, storage_mode="dynamodb") == {"storage_mode": "dynamodb"}
    assert execution({"execution_config": {"storage_mode": "s3"}}, storage_mode="dynamodb") == {"storage_mode": "s3"}


def test_days_in_dynamodb_are_a_default_for_rows_in_dynamodb_only() -> None:
    defaults = {"ttl_days": 30}
    assert execution({}, defaults=defaults) is None
    assert execution({}, storage_mode="dynamodb", defaults=defaults) == {"storage_mode": "dynamodb", "ttl_days": 30}


@pytest.mark.parametrize(
    "deployment",
    [
        {"output_mappings": {"searcher": {"extraction_methods": METHODS}}},
        {"agents": {"searcher": {"extraction": METHODS}}},
    ],
)
def test_extraction_methods_of_the_target_hold_where_the_document_has_none(deployment: dict[str, Any]) -> None:
    target = {"type": "agent", "name": "searcher"}
    done = completed({"target": target, "output_mapping": {"columns": []}}, **deployment)
    assert done.document["output_mapping"] == {"columns": [], "extraction_methods": METHODS}
    assert done.sources == {"output_mapping.extraction_methods": "deployment"}

    own = completed({"target": target, "output_mapping": {"extraction_methods": OWN}}, **deployment)
    assert own.document["output_mapping"] == {"extraction_methods": OWN}
    assert own.sources == {"output_mapping.extraction_methods": "document"}

    other = completed({"target": {"type": "agent", "name": "other"}}, **deployment)
    assert "output_mapping" not in other.document


def test_the_problem_of_a_deployments_value_says_so() -> None:
    done = completed({"execution_config": {"batch_size": 5}}, defaults={"timeout_seconds": 1_200})
    own = Problem("execution_config.batch_size", "", "bad", "fix")
    theirs = Problem("execution_config.timeout_seconds", "1200", "too long", "fix")
    said = [problem.message for problem in done.with_origins([own, theirs])]
    assert said == ["bad", "too long; the value is the deployment's, from batch-processor-config.yaml"]


NAMES = ("batch_size", "timeout_seconds", "give_up_seconds")
SETTINGS = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 800))


@given(SETTINGS, SETTINGS)
def test_each_value_is_the_documents_else_the_deployments(own: dict[str, int], given_: dict[str, int]) -> None:
    done = completed({"execution_config": own}, defaults=given_)
    assert done.document["execution_config"] == given_ | own
    assert {path.partition(".")[2] for path, source in done.sources.items() if source == "document"} == set(own)


def test_nothing_that_terraform_wrote_is_no_configuration() -> None:
    assert read_deployment_config(b"null") == DeploymentConfig()


def test_a_configuration_that_got_past_its_checks_is_the_deployments_fault() -> None:
    with pytest.raises(
        DeploymentError, match=r"defaults\.batch_sise: unknown field.*did you mean batch_size.*config-check"
    ):
        read_deployment_config(b'{"defaults": {"batch_sise": 5}}')


def test_transforms_of_the_document_replace_those_that_come_with_the_methods() -> None:
    methods = [{"method": "direct", "field_mappings": {"title": {"path": "$.title", "transform": "clean"}}}]
    rules = {"t": {"transforms": {"clean": {"regex": "deployed"}}, "extraction_methods": methods}}
    own = {"clean": {"regex": "own"}}

    done = completed({"target": {"name": "t"}, "output_mapping": {"transforms": own}}, output_mappings=rules)

    assert done.document["output_mapping"] == {"transforms": own, "extraction_methods": methods}
    assert done.sources["output_mapping.transforms"] == "document"
    assert done.sources["output_mapping.extraction_methods"] == "deployment"
