"""HTTP APIs before functions: who may call, and what the function sees.

* https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html
* https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator.testing import LocalAws
from emulator.tests.resources import allow, eventually, make_function, make_role, unique

ECHO = """
import json
import re
def handler(event, context):
    if event["rawPath"].endswith("/fails"):
        raise ValueError("fails")
    print("REQUEST " + event["rawPath"])
    context_of_request = event["requestContext"]
    body = {"path": event["rawPath"], "parameters": event.get("pathParameters"), "body": event.get("body"),
            "query": event.get("queryStringParameters"), "headers": event["headers"], "version": event["version"],
            "authorizer": context_of_request.get("authorizer"), "method": context_of_request["http"]["method"]}
    return {"statusCode": 202, "headers": {"content-type": "application/json", "x-own": "1"}, "body": json.dumps(body)}
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Api:
    """An HTTP API with IAM authorisation on every route of `/admin`."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws, self.api = aws, aws.client("apigatewayv2")
        self.function = make_function(aws, ECHO)
        arn = aws.client("lambda").get_function(FunctionName=self.function)["Configuration"]["FunctionArn"]
        self.id = self.api.create_api(Name=unique("api"), ProtocolType="HTTP")["ApiId"]
        integration = self.api.create_integration(
            ApiId=self.id, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
        )
        self.target = f"integrations/{integration['IntegrationId']}"
        self.api.create_stage(ApiId=self.id, StageName="$default", AutoDeploy=True)
        for key in ("ANY /admin/{proxy+}", "GET /admin/bedrock/batch/{jobId}"):
            self.route(key, AuthorizationType="AWS_IAM")
        self.aws.client("lambda").add_permission(
            FunctionName=self.function,
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"{self.arn}/*",
        )

    @property
    def arn(self) -> str:
        return f"arn:aws:execute-api:us-east-1:{self.aws.account_id}:{self.id}"

    def route(self, key: str, **options: Any) -> None:
        self.api.create_route(ApiId=self.id, RouteKey=key, Target=self.target, **options)

    def call(
        self,
        method: str,
        path: str,
        role: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A request, signed with a session of the role where one is given."""
        data = None if body is None else json.dumps(body).encode()
        host = f"{self.id}.execute-api.localhost:{self.aws.endpoint_url.rpartition(':')[2]}"
        url = f"{self.aws.endpoint_url}{path}"
        request = AWSRequest(method, url, data=data, headers={"host": host, **(headers or {})})
        if role is not None:
            session = self.aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
            credentials = Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
            SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
        prepared = urllib.request.Request(url, data=data, headers=dict(request.headers), method=method)
        try:
            with urllib.request.urlopen(prepared, timeout=30) as found:
                return Answer(found.status, dict(found.headers), found.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())


@pytest.fixture(scope="module")
def api(local_aws: LocalAws) -> Api:
    return Api(local_aws)


@pytest.fixture(scope="module")
def caller(api: Api) -> str:
    return make_role(api.aws, allow("execute-api:Invoke", f"{api.arn}/*"))


def test_an_unsigned_call_is_forbidden(api: Api) -> None:
    answer = api.call("GET", "/admin/bedrock/batch/jobs")
    assert (answer.status, answer.json) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize("header", ["", "garbage", "Bearer abc", "Basic dGVzdDp0ZXN0"])
def test_what_is_no_signature_is_forbidden(api: Api, header: str) -> None:
    answer = api.call("GET", "/admin/bedrock/batch/jobs", headers={"authorization": header})
    assert (answer.status, answer.json) == (403, {"message": "Forbidden"})


def test_a_role_without_the_right_is_forbidden(api: Api) -> None:
    answer = api.call("GET", "/admin/bedrock/batch/jobs", make_role(api.aws))
    assert answer.status == 403


def test_a_role_with_the_right_reaches_the_function_which_sees_who_calls(api: Api, caller: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""
    answer = api.call(
        "POST",
        "/admin/bedrock/batch?limit=2&status=InProgress",
        caller,
        {"config": {}},
        {"content-type": "application/json", "idempotency-key": "k-1"},
    )
    assert (answer.status, answer.headers["x-own"]) == (202, "1")
    seen = answer.json
    assert (seen["path"], seen["method"], seen["version"]) == ("/admin/bedrock/batch", "POST", "2.0")
    assert json.loads(seen["body"]) == {"config": {}}
    assert seen["query"] == {"limit": "2", "status": "InProgress"}
    assert seen["headers"]["idempotency-key"] == "k-1"


def test_a_function_sees_the_caller_with_every_field_that_aws_documents(api: Api, caller: str) -> None:
    """Payload 2.0: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads; ids:
    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html."""
    iam = api.call("GET", "/admin/bedrock/batch/jobs", caller).json["authorizer"]["iam"]
    account, role = api.aws.account_id, caller.rpartition("/")[2]
    assert set(iam) == {
        "accessKey",
        "accountId",
        "callerId",
        "cognitoIdentity",
        "principalOrgId",
        "userArn",
        "userId",
    }
    assert iam["userArn"] == f"arn:aws:sts::{account}:assumed-role/{role}/test"
    assert (iam["accountId"], iam["cognitoIdentity"]) == (account, None)
    assert re.fullmatch(r"AROA[A-Z0-9]+:test", iam["userId"])
    assert iam["callerId"] == iam["userId"]
    assert iam["accessKey"].startswith("ASIA")
    # Another session of the role keeps the name that it was given: the same caller to whoever compares the ARN
    again = api.call("GET", "/admin/bedrock/batch/jobs", caller).json["authorizer"]["iam"]
    assert (again["userArn"], again["accessKey"] == iam["accessKey"]) == (iam["userArn"], False)


def test_a_path_parameter_is_taken_from_the_most_exact_route(api: Api, caller: str) -> None:
    answer = api.call("GET", "/admin/bedrock/batch/batch-17-ab12", caller)
    assert answer.json["parameters"] == {"jobId": "batch-17-ab12"}
    assert api.call("GET", "/admin/openapi.json", caller).json["parameters"] == {"proxy": "openapi.json"}


def test_a_right_on_one_method_and_path_is_no_right_on_another(api: Api) -> None:
    reader = make_role(api.aws, allow("execute-api:Invoke", f"{api.arn}/$default/GET/admin/bedrock/batch/jobs"))
    assert api.call("GET", "/admin/bedrock/batch/jobs", reader).status == 202
    assert api.call("POST", "/admin/bedrock/batch", reader, {}).status == 403


def test_an_unknown_route_is_not_found_and_a_failing_function_is_an_internal_error(api: Api, caller: str) -> None:
    unknown = api.call("GET", "/elsewhere", caller)
    assert (unknown.status, unknown.json) == (404, {"message": "Not Found"})
    failing = api.call("GET", "/admin/fails", caller)
    assert (failing.status, failing.json) == (500, {"message": "Internal Server Error"})


def test_a_function_that_does_not_let_the_api_in_is_an_internal_error(api: Api, caller: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""
    client = api.aws.client("lambda")
    client.remove_permission(FunctionName=api.function, StatementId="api")
    try:
        assert api.call("GET", "/admin/bedrock/batch/jobs", caller).status == 500
    finally:
        client.add_permission(
            FunctionName=api.function,
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"{api.arn}/*",
        )


def test_a_function_that_takes_longer_than_the_integration_may_is_unavailable(api: Api) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html"""
    slow = make_function(api.aws, "import time\ndef handler(event, context): time.sleep(3)")
    functions = api.aws.client("lambda")
    arn = functions.get_function(FunctionName=slow)["Configuration"]["FunctionArn"]
    functions.add_permission(
        FunctionName=slow, StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
    )
    integration = api.api.create_integration(
        ApiId=api.id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=arn,
        PayloadFormatVersion="2.0",
        TimeoutInMillis=1000,
    )
    api.api.create_route(ApiId=api.id, RouteKey="GET /slow", Target=f"integrations/{integration['IntegrationId']}")
    answer = api.call("GET", "/slow")
    assert (answer.status, answer.json) == (503, {"message": "Service Unavailable"})


def test_a_jwt_authorizer_refuses_what_its_issuer_has_not_signed(api: Api) -> None:
    authorizer = api.api.create_authorizer(
        ApiId=api.id,
        AuthorizerType="JWT",
        Name="tokens",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": "http://127.0.0.1:9/issuer", "Audience": ["admin"]},
    )
    assert not authorizer.get("AuthorizerPayloadFormatVersion"), "a second Terraform plan would change it"
    api.route(
        "GET /tokens/jobs",
        AuthorizationType="JWT",
        AuthorizerId=authorizer["AuthorizerId"],
        AuthorizationScopes=["admin"],
    )
    for headers in ({}, {"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}):
        answer = api.call("GET", "/tokens/jobs", headers=headers)
        assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})


def test_calls_are_written_to_the_access_log(api: Api, caller: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html"""
    group = unique("/aws/apigateway/admin")
    api.aws.client("logs").create_log_group(logGroupName=group)
    api.api.update_stage(
        ApiId=api.id,
        StageName="$default",
        AccessLogSettings={
            "DestinationArn": f"arn:aws:logs:us-east-1:{api.aws.account_id}:log-group:{group}",
            "Format": json.dumps(
                {
                    "requestId": "$context.requestId",
                    "route": "$context.routeKey",
                    "status": "$context.status",
                    "error": "$context.error.message",
                    "caller": "$context.identity.userArn",
                }
            ),
        },
    )
    api.call("GET", "/admin/bedrock/batch/jobs", caller)
    api.call("GET", "/admin/bedrock/batch/jobs")

    def lines() -> list[dict[str, str]]:
        events = api.aws.client("logs").filter_log_events(logGroupName=group)["events"]
        return [json.loads(event["message"]) for event in events]

    assert eventually(lambda: len(lines()) == 2), lines()
    assert sorted(line["status"] for line in lines()) == ["202", "403"]
    allowed = next(line for line in lines() if line["status"] == "202")
    assert allowed["route"] == "GET /admin/bedrock/batch/{jobId}"
    assert caller.rpartition("/")[2] in allowed["caller"]
