"""Where a function runs: its environment, its packages, its versions and its workers.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import base64
import json
import time

from emulator.testing import LocalAws
from emulator.tests.resources import archive, invoke, make_function, make_role, unique

SHOW_ENVIRONMENT = "import os\ndef handler(event, context): return dict(os.environ)"


def test_a_function_sees_lambda_s_variables_and_its_own() -> None:
    with LocalAws({"SECRET_OF_THE_CALLER": "leak", "AWS_PROFILE": "mine", "HTTP_PROXY": "http://127.0.0.1:9"}) as aws:
        role = make_role(aws)
        name = make_function(
            aws,
            SHOW_ENVIRONMENT,
            role,
            MemorySize=256,
            Environment={"Variables": {"OWN": "1", "AWS_XRAY_SDK_ENABLED": "false"}},
        )
        variables = invoke(aws, name)
        assert variables["OWN"] == "1"
        assert variables["AWS_LAMBDA_FUNCTION_NAME"] == name
        assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
        assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
        assert variables["AWS_LAMBDA_LOG_GROUP_NAME"] == f"/aws/lambda/{name}"
        assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "us-east-1"
        assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
        assert variables["_HANDLER"] == "index.handler"
        assert variables["AWS_ENDPOINT_URL"] == aws.endpoint_url
        assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")
        assert variables["AWS_SESSION_TOKEN"]
        assert not {
            "SECRET_OF_THE_CALLER",
            "AWS_PROFILE",
            "HTTP_PROXY",
            "AUTH",
            "GATEWAY_PORT",
            "S3_DATA_DIR",
            "PYTHONPATH",
        } & set(variables)
        assert "test" not in (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])


def test_the_context_tells_the_request_and_the_time_left(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""
    code = """
import time
def handler(event, context):
    first = context.get_remaining_time_in_millis()
    time.sleep(0.2)
    then = context.get_remaining_time_in_millis()
    seen = {"first": first, "then": then, "id": context.aws_request_id, "arn": context.invoked_function_arn}
    return seen | {"memory": context.memory_limit_in_mb, "version": context.function_version}
"""
    name = make_function(local_aws, code, Timeout=60)
    seen = invoke(local_aws, name)
    assert 30_000 < seen["first"] <= 60_000
    assert 190 <= seen["first"] - seen["then"] < 30_000
    assert len(seen["id"]) == 36
    assert invoke(local_aws, name)["id"] != seen["id"]
    assert seen["arn"].endswith(f":function:{name}")
    assert (seen["memory"], seen["version"]) == ("128", "$LATEST")


def test_a_version_keeps_its_code_and_its_environment(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html"""
    client = local_aws.client("lambda")
    code = 'import os\ndef handler(e, c): return [{n}, os.environ["STAGE"], c.function_version, c.invoked_function_arn]'
    name = make_function(local_aws, code.replace("{n}", "1"), Environment={"Variables": {"STAGE": "first"}})
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.update_function_code(FunctionName=name, ZipFile=archive({"index.py": code.replace("{n}", "2")}))
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"STAGE": "second"}})
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    assert invoke(local_aws, f"{name}:1") == [1, "first", "1", f"{arn}:1"]
    assert invoke(local_aws, f"{arn}:2") == [2, "second", "2", f"{arn}:2"]
    assert invoke(local_aws, name) == [2, "second", "$LATEST", arn]
    assert invoke(local_aws, name, Qualifier="live")[:3] == [1, "first", "1"]


def test_layers_come_after_the_code_and_before_the_runtime_s_packages(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html"""
    client = local_aws.client("lambda")
    layers = []
    for content in (
        {"python/shared.py": 'name = "layer"', "python/yaml.py": 'name = "layer"', "python/own.py": 'name = "layer"'},
        {"python/lib/python3.11/site-packages/deep.py": 'name = "deep"'},
    ):
        published = client.publish_layer_version(LayerName=unique("layer"), Content={"ZipFile": archive(content)})
        layers.append(published["LayerVersionArn"])
    code = (
        "import shared, yaml, own, deep, boto3\ndef handler(e, c): return [m.name for m in (shared, yaml, own, deep)]"
    )
    name = make_function(local_aws, {"index.py": code, "own.py": 'name = "code"'}, Layers=layers)
    assert invoke(local_aws, name) == ["layer", "layer", "code", "deep"]


def test_a_function_sees_no_package_that_the_managed_runtime_lacks(local_aws: LocalAws) -> None:
    code = """
import importlib.util, sys
def handler(event, context): return [bool(importlib.util.find_spec(name)) for name in event]
"""
    names = ["boto3", "emulator", "lambda_bootstrap", "ministack", "hypercorn"]
    assert invoke(local_aws, make_function(local_aws, code), names) == [True, False, False, False, False]


def test_what_a_function_prints_and_logs_is_in_the_tail_and_in_its_log_group(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html"""
    code = """
import logging, sys
def handler(event, context):
    print("printed", event)
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").warning("logged %s", event, extra={"row": event})
"""
    name = make_function(local_aws, code, LoggingConfig={"LogFormat": "JSON"})
    answer = local_aws.client("lambda").invoke(FunctionName=name, Payload=b"5", LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "platform.start" in tail
    assert "printed 5\n" in tail
    assert "to stderr\n" in tail
    record = next(json.loads(line) for line in tail.splitlines() if '"logger"' in line)
    assert (record["level"], record["message"], record["row"], record["logger"]) == ("WARNING", "logged 5", 5, "mine")
    logs = local_aws.client("logs")
    invoke(local_aws, name, 6)
    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert len(streams) == 1
    messages = [
        event["message"]
        for event in logs.get_log_events(logGroupName=f"/aws/lambda/{name}", logStreamName=streams[0]["logStreamName"])[
            "events"
        ]
    ]
    assert "printed 5" in "\n".join(messages)
    assert "printed 6" in "\n".join(messages)


def test_embedded_metrics_of_a_function_reach_cloudwatch(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""
    namespace = unique("Metrics")
    code = """
import json, time
def handler(event, context):
    rows = {"Name": "Rows", "Unit": "Count"}
    metrics = [{"Namespace": event["namespace"], "Dimensions": [["target"]], "Metrics": [rows]}]
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": metrics}
    print(json.dumps({"_aws": metadata, "target": "t", "Rows": event["rows"]}))
"""
    name = make_function(local_aws, code)
    for rows in (3, 4):
        invoke(local_aws, name, {"namespace": namespace, "rows": rows})
    now = time.time()
    found = local_aws.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName="Rows",
        Dimensions=[{"Name": "target", "Value": "t"}],
        StartTime=now - 600,
        EndTime=now + 60,
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in found["Datapoints"]) == 7


def test_a_call_that_logs_nothing_waits_for_nothing(local_aws: LocalAws) -> None:
    """MiniStack alone waits 50 ms for log lines after each call."""
    name = make_function(local_aws, "def handler(event, context): return event")
    client = local_aws.client("lambda")
    client.invoke(FunctionName=name, Payload=b"1")

    def seconds() -> float:
        started = time.perf_counter()
        client.invoke(FunctionName=name, Payload=b"1")
        return time.perf_counter() - started

    assert any(seconds() < 0.05 for _ in range(200)), "one call below the wait shows that there is none"
