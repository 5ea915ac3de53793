"""Which objects under the output prefix hold results, and of what."""

from __future__ import annotations

import pytest

from bedrock_batches.results.result_keys import OutputKey, output_key

JOB = "batch-1764000000-0123abcd"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"bedrock-batches/output/{JOB}/abcdefghijkl/input-0001.jsonl.out", OutputKey(JOB, 1)),
        (f"bedrock-batches/output/{JOB}/abcdefghijkl/input-0012.jsonl.out", OutputKey(JOB, 12)),
        (f"bedrock-batches/output/{JOB}/abcdefghijkl/input.jsonl.out", OutputKey(JOB, None)),
        (f"bedrock-batches/output/{JOB}/output.jsonl", OutputKey(JOB, None)),
        ("bedrock-batches/output/older-job/output.jsonl", OutputKey("older-job", None)),
        (f"bedrock-batches/output/{JOB}/abcdefghijkl/manifest.json.out", None),
        (f"bedrock-batches/output/{JOB}/abcdefghijkl/input-0001.jsonl.tmp", None),
        (f"bedrock-batches/output/{JOB}/a/b/input-0001.jsonl.out", None),
        (f"bedrock-batches/input/{JOB}/input-0001.jsonl", None),
        ("bedrock-batches/output/output.jsonl", None),
        ("bedrock-batches/output/../output.jsonl", None),
        ("output.jsonl", None),
        ("", None),
    ],
)
def test_a_key_says_whose_results_it_holds(key: str, expected: OutputKey | None) -> None:
    assert output_key(key) == expected
