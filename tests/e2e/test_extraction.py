"""Batches that name no columns: those of the target's schema, whatever the shape of the answers."""

from __future__ import annotations

from tests.support.deployment import Deployment, csv_bytes

SHAPES = ["messages", "print_output", "structured_output", "converse", "json_text", "data", "bare"]
FOUND_BY = {
    "messages": "tool_result",
    "print_output": "structured_output",
    "structured_output": "structured_output",
    "converse": "structured_output",
    "json_text": "structured_output",
    "data": "direct",
    "bare": "direct",
}


def test_a_batch_without_columns_gets_those_of_the_schema_from_every_shape_of_answer(deployment: Deployment) -> None:
    rows = [["CT1 2EH", shape] for shape in SHAPES] + [["XX9 9XX", "messages"]]
    document = {
        "target": {"type": "agent", "name": "broadband-agent-rust"},
        "output_mapping": {"add_metadata": ["_status", "_extraction"]},
        "execution_config": {"max_concurrency": 4, "timeout_seconds": 60},
    }

    run = deployment.run(document, csv_bytes([["postcode", "shape"], *rows])).assert_succeeded()

    assert list(run.rows[0]) == ["postcode", "shape", "exchange", "download_speed", "_status", "_extraction"]
    *found, unknown = run.rows
    assert [(row["exchange"], row["download_speed"]) for row in found] == [("CANTERBURY", "67.5 Mbps")] * len(SHAPES)
    for row in found:
        method = FOUND_BY[row["shape"]]
        assert row["_extraction"] == (
            f'{{"methods":{{"exchange":"{method}","download_speed":"{method}"}},"missing":[]}}'
        )
    assert (unknown["_status"], unknown["exchange"], unknown["download_speed"]) == ("SUCCESS", "", "")
    summary = run.summary
    assert summary["output_schema"]["version"] == "1.0.0"
    assert summary["extraction"]["methods"]["exchange"] == {"tool_result": 1, "structured_output": 4, "direct": 2}
    assert summary["extraction"]["missing"] == {"exchange": 1, "download_speed": 1}


def test_results_of_a_search_are_read_from_each_shape_and_a_document_can_type_its_own_columns(
    deployment: Deployment,
) -> None:
    document = {
        "target": {"type": "agent", "name": "web-search-agent"},
        "output_mapping": {
            "columns": [{"name": "headline", "source": "$.title"}, {"name": "url"}],
            "extraction_methods": [
                {"method": "results_array", "field_mappings": {"title": "results[0].title", "url": "results[0].url"}}
            ],
            "add_metadata": ["_status"],
        },
        "execution_config": {"max_concurrency": 3, "timeout_seconds": 60},
    }
    rows = [["kettle", "data"], ["kettle", "messages"], ["kettle", "json_text"]]

    run = deployment.run(document, csv_bytes([["query", "shape"], *rows])).assert_succeeded()

    cells = [(row["headline"], row["url"], row["_status"]) for row in run.rows]
    assert cells == [("About kettle", "https://search.example/kettle", "SUCCESS")] * 3
    assert run.summary["output_schema"] is None
