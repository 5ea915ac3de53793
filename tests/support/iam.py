"""Take a role's grants on one service away for a while, or work under a role with one policy."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest

from batch_processor_client.deployment import Deployment as ClientDeployment
from tests.support.deployment import Deployment


def _statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    statements = document["Statement"]
    return statements if isinstance(statements, list) else [statements]


def _actions(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return actions if isinstance(actions, list) else [actions]


def role_of(deployment: Deployment, function: str) -> str:
    configuration = deployment.client("lambda").get_function_configuration(FunctionName=deployment.function(function))
    return str(configuration["Role"]).rsplit("/", 1)[1]


def policies_of(deployment: Deployment, role: str) -> dict[str, dict[str, Any]]:
    """Name to document of the inline policies, and ARN to document of the attached ones."""
    iam = deployment.client("iam")
    documents = {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        documents[name] = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        documents[arn] = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return {
        name: document if isinstance(document, dict) else json.loads(document) for name, document in documents.items()
    }


def granted_services(deployment: Deployment, function: str) -> set[str]:
    """The services that the function's role may use, such as ``{"s3", "sqs"}``."""
    documents = policies_of(deployment, role_of(deployment, function)).values()
    return {
        action.split(":")[0]
        for document in documents
        for statement in _statements(document)
        for action in _actions(statement)
    }


@contextmanager
def without_grants(deployment: Deployment, function: str, service: str) -> Iterator[None]:
    """The function's role has no grant on the service inside this context."""
    iam, role = deployment.client("iam"), role_of(deployment, function)
    before = policies_of(deployment, role)
    changed: dict[str, dict[str, Any]] = {}
    for name, document in before.items():
        kept = []
        for statement in _statements(document):
            actions = [action for action in _actions(statement) if not action.startswith(f"{service}:")]
            if actions:
                kept.append({**statement, "Action": actions})
        if kept != _statements(document):
            changed[name] = {**document, "Statement": kept}
    assert changed, f"{function} has no grant on {service}"

    def put(name: str, document: dict[str, Any]) -> None:
        if document["Statement"]:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        else:
            iam.delete_role_policy(RoleName=role, PolicyName=name)

    try:
        for name, document in changed.items():
            if name.startswith("arn:"):
                iam.detach_role_policy(RoleName=role, PolicyArn=name)
                put(name.rsplit("/", 1)[1], {**document, "Statement": document["Statement"] or [_NOTHING]})
            else:
                put(name, document)
        time.sleep(deployment.waits.iam)
        yield
    finally:
        for name in changed:
            if name.startswith("arn:"):
                iam.delete_role_policy(RoleName=role, PolicyName=name.rsplit("/", 1)[1])
                iam.attach_role_policy(RoleName=role, PolicyArn=name)
            else:
                put(name, before[name])
        time.sleep(deployment.waits.iam)


@contextmanager
def client_with(deployment: Deployment, *policies: str) -> Iterator[ClientDeployment]:
    """The deployment as the client knows it, for somebody who has these policies alone."""
    with session_with(deployment, *policies) as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientDeployment, "session", lambda _: session)
        yield ClientDeployment.model_validate(deployment.outputs)


@contextmanager
def session_with(deployment: Deployment, *policies: str) -> Iterator[boto3.Session]:
    """A session of a role that has these policies alone; without any, it may do nothing."""
    iam, tokens, name = deployment.client("iam"), deployment.client("sts"), f"test-{uuid.uuid4().hex[:12]}"
    account = tokens.get_caller_identity()["Account"]
    trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    try:
        for number, policy in enumerate(policies):
            iam.put_role_policy(RoleName=name, PolicyName=f"only-{number}", PolicyDocument=policy)
        if deployment.local_aws is None:
            time.sleep(deployment.waits.iam)
        found = tokens.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        yield boto3.Session(
            found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], deployment.outputs["region"]
        )
    finally:
        for number in range(len(policies)):
            iam.delete_role_policy(RoleName=name, PolicyName=f"only-{number}")
        iam.delete_role(RoleName=name)


_NOTHING = {"Effect": "Allow", "Action": ["sts:GetCallerIdentity"], "Resource": "*"}
