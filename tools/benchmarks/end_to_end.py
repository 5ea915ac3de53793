"""Compares a whole batch with a bare loop that invokes the same function as often and as concurrently.

Both run on the same local AWS, one after the other, warmed, and both as roles: their requests are authorised. A batch
of fewer rows shows how much of its time is the same for any size: staging, planning, aggregating and the summary.
``tools/bench.py`` starts it.
"""

from __future__ import annotations

import json
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3

from batch_processor_client.deployment import Deployment
from tools import local_aws
from tools.benchmarks.batches import run_batch
from tools.outputs import deployment_of

ROWS, FEWER_ROWS = 2_000, 400
CONCURRENCY = 10
ROUNDS = 5
AIM = 1.2
DOCUMENT = {
    "target": {"type": "tool", "name": "echo"},
    "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
    "execution_config": {"max_concurrency": CONCURRENCY},
}


def echo_function(deployment: Deployment) -> str:
    """The ARN of the function, from the registry."""
    table = deployment.registry_table
    item = deployment.client("dynamodb").get_item(TableName=table, Key={"name": {"S": "echo"}})["Item"]
    return str(item["arn"]["S"])


def bare_loop(client: Any, function: str, rows: list[dict[str, str]]) -> float:
    """Seconds to invoke the function once a row, CONCURRENCY at once, reading every answer."""

    def invoke(numbered: tuple[int, dict[str, str]]) -> None:
        number, row = numbered
        payload = json.dumps({"name": "echo", "input": row, "id": f"bare:{number}:1"})
        answer = json.loads(client.invoke(FunctionName=function, Payload=payload)["Payload"].read())
        assert answer["content"]["input"] == row

    begun = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(invoke, enumerate(rows, 1)))
    return time.perf_counter() - begun


def role_client(deployment: Deployment, function: str) -> Any:
    """A client with a role that can only invoke the function, because the local AWS does not authorise its root."""
    name, iam = f"bare-loop-{uuid.uuid4().hex[:8]}", deployment.client("iam")
    root = deployment.client("sts").get_caller_identity()["Arn"]
    trust = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole"}
    allowed = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": function}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="invoke", PolicyDocument=_policy(allowed))
    given = deployment.client("sts").assume_role(RoleArn=role, RoleSessionName="bare-loop")["Credentials"]
    session = boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=deployment.region,
    )
    return session.client("lambda", endpoint_url=local_aws.endpoint_url())


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def run() -> list[dict[str, Any]]:
    """Median seconds of both, and ours / theirs; and beside a loop of the root, which is not authorised.

    Then the milliseconds that a further row takes on both sides, and the seconds that a batch takes without its rows.
    """
    deployment = deployment_of("local")
    rows = [{"id": str(number), "text": f"text of row {number}"} for number in range(1, ROWS + 1)]
    function = echo_function(deployment)
    peer, root = role_client(deployment, function), deployment.client("lambda")
    bare_loop(peer, function, rows[:200])
    run_batch(deployment, DOCUMENT, rows)
    ours, peers, roots = [], [], []
    fewer_ours, fewer_peers = [], []
    for _ in range(ROUNDS):
        peers.append(bare_loop(peer, function, rows))
        ours.append(run_batch(deployment, DOCUMENT, rows).seconds)
        roots.append(bare_loop(root, function, rows))
        fewer_peers.append(bare_loop(peer, function, rows[:FEWER_ROWS]))
        fewer_ours.append(run_batch(deployment, DOCUMENT, rows[:FEWER_ROWS]).seconds)
    row_ms, peer_row_ms = _further_row_ms(ours, fewer_ours), _further_row_ms(peers, fewer_peers)
    return [
        _result("end_to_end", ours, peers, AIM, "bare loop of a role that may only invoke the function"),
        _result("end_to_end_against_root", ours, roots, None, "bare loop of the root, which is asked no permission"),
        {
            "name": "end_to_end_further_row",
            "ours": row_ms,
            "peer": peer_row_ms,
            "ratio": row_ms / peer_row_ms,
            "aim": None,
            "met": None,
            "unit": f"ms for each row from {FEWER_ROWS:,} to {ROWS:,}; peer: bare loop of the role",
            "spread": None,
        },
        {
            "name": "end_to_end_without_rows",
            "ours": statistics.median(ours) - ROWS * row_ms / 1000,
            "peer": None,
            "ratio": None,
            "aim": None,
            "met": None,
            "unit": f"s of a batch of {ROWS:,} rows that are not its rows",
            "spread": None,
        },
    ]


def _further_row_ms(many: list[float], fewer: list[float]) -> float:
    """Milliseconds of a row between the two sizes."""
    return 1000 * (statistics.median(many) - statistics.median(fewer)) / (ROWS - FEWER_ROWS)


def _result(name: str, ours: list[float], peers: list[float], aim: float | None, peer: str) -> dict[str, Any]:
    ratio = statistics.median(ours) / statistics.median(peers)
    return {
        "name": name,
        "ours": statistics.median(ours),
        "peer": statistics.median(peers),
        "ratio": ratio,
        "aim": aim,
        "met": None if aim is None else ratio <= aim,
        "unit": f"s for {ROWS:,} rows, concurrency {CONCURRENCY}; peer: {peer}",
        "spread": (max(ours) - min(ours)) / statistics.median(ours),
    }
