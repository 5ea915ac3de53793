"""Converse and InvokeModel of the local Bedrock.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws, bedrock_fault
from emulator.tests.resources import allow, make_role

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PROMPT = "Give JSON with title, description and tags. company_name: Pit & Co; violation_type: Willful"
MESSAGES = [{"role": "user", "content": [{"text": PROMPT}]}]


def test_converse_answers_a_prompt_and_counts_tokens(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""
    client = local_aws.client("bedrock-runtime")
    system = [{"text": "Be brief."}]
    answered = client.converse(modelId=MODEL, messages=MESSAGES, system=system, inferenceConfig={"maxTokens": 400})
    text = answered["output"]["message"]["content"][0]["text"]
    assert "Pit & Co: Willful" in text
    assert answered["stopReason"] == "end_turn"
    usage = answered["usage"]
    assert usage["inputTokens"] == -(-len(f"Be brief.\n{PROMPT}") // 4)
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert client.converse(modelId=MODEL, messages=MESSAGES, system=system)["output"] == answered["output"]


def test_converse_cuts_an_answer_at_the_token_limit(local_aws: LocalAws) -> None:
    answered = local_aws.client("bedrock-runtime").converse(
        modelId=MODEL, messages=MESSAGES, inferenceConfig={"maxTokens": 10}
    )
    assert (answered["stopReason"], answered["usage"]["outputTokens"]) == ("max_tokens", 10)
    assert len(answered["output"]["message"]["content"][0]["text"]) == 40


def test_converse_refuses_a_body_that_it_does_not_know(local_aws: LocalAws) -> None:
    client = local_aws.client("bedrock-runtime")
    with pytest.raises(ClientError, match=r"ValidationException.*start with a user message"):
        client.converse(modelId=MODEL, messages=[{"role": "assistant", "content": [{"text": "hello"}]}])


@pytest.mark.parametrize(
    ("model_id", "body", "path"),
    [
        (
            MODEL,
            {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 400,
                "messages": [{"role": "user", "content": PROMPT}],
            },
            ["content", 0, "text"],
        ),
        ("us.amazon.nova-lite-v1:0", {"messages": MESSAGES}, ["output", "message", "content", 0, "text"]),
        ("mistral.mistral-7b-instruct-v0:2", {"prompt": PROMPT, "max_tokens": 400}, ["outputs", 0, "text"]),
        (
            "mistral.mistral-large-2407-v1:0",
            {"messages": [{"role": "user", "content": PROMPT}]},
            ["choices", 0, "message", "content"],
        ),
        ("meta.llama3-1-70b-instruct-v1:0", {"prompt": PROMPT, "max_gen_len": 400}, ["generation"]),
        ("amazon.titan-text-express-v1", {"inputText": PROMPT}, ["results", 0, "outputText"]),
    ],
)
def test_each_model_family_has_its_own_bodies(
    local_aws: LocalAws, model_id: str, body: dict[str, Any], path: list[Any]
) -> None:
    client = local_aws.client("bedrock-runtime")
    found = json.loads(client.invoke_model(modelId=model_id, body=json.dumps(body))["body"].read())
    for step in path:
        found = found[step]
    assert "Pit & Co: Willful" in found
    with pytest.raises(ClientError, match="ValidationException"):
        client.invoke_model(modelId=model_id, body=json.dumps({"text": PROMPT}))


def test_converse_is_authorised_as_invoke_model_on_the_model(local_aws: LocalAws) -> None:
    root = {"AWS": f"arn:aws:iam::{local_aws.account_id}:root"}
    model = f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"
    profile = f"arn:aws:bedrock:us-east-1:{local_aws.account_id}:inference-profile/us.{MODEL}"
    request = {"messages": MESSAGES}
    on_model = local_aws.client_as(
        make_role(local_aws, allow("bedrock:InvokeModel", model), trusted=root), "bedrock-runtime"
    )
    assert on_model.converse(modelId=MODEL, **request)["stopReason"] == "end_turn"
    on_profile = local_aws.client_as(
        make_role(local_aws, allow("bedrock:InvokeModel", profile), trusted=root), "bedrock-runtime"
    )
    nova = "amazon.nova-lite-v1:0"
    for client, model_id, resource in (
        (on_model, nova, f"arn:aws:bedrock:us-east-1::foundation-model/{nova}"),
        (on_model, f"us.{MODEL}", profile),
        (on_profile, f"us.{MODEL}", model),
    ):
        with pytest.raises(ClientError, match="AccessDenied") as denied:
            client.converse(modelId=model_id, **request)
        assert f"bedrock:InvokeModel on resource: {resource}" in str(denied.value)


def test_calls_are_throttled_as_often_as_a_test_asks_for_it(local_aws: LocalAws) -> None:
    client = local_aws.client("bedrock-runtime")
    with bedrock_fault(local_aws.endpoint_url, "converse_throttle", count=1):
        with pytest.raises(ClientError, match="ThrottlingException"):
            client.converse(modelId=MODEL, messages=MESSAGES)
        assert client.converse(modelId=MODEL, messages=MESSAGES)["stopReason"] == "end_turn"
