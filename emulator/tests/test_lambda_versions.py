"""Published versions of a function are listed as AWS lists them, so a second plan finds no change.

https://docs.aws.amazon.com/lambda/latest/api/API_ListVersionsByFunction.html
"""

from __future__ import annotations

import io
import zipfile

from emulator.testing import LocalAws


def test_listed_versions_of_a_function_name_the_version_in_their_arn(local_aws: LocalAws) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context): return event\n")
    role = local_aws.client("iam").create_role(RoleName="versions", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    client = local_aws.client("lambda")
    created = client.create_function(
        FunctionName="versions",
        Runtime="python3.11",
        Role=role,
        Handler="handler.handler",
        Code={"ZipFile": content.getvalue()},
        Publish=True,
    )
    unqualified = created["FunctionArn"].removesuffix(":1")
    listed = client.list_versions_by_function(FunctionName="versions")["Versions"]
    assert [version["FunctionArn"] for version in listed] == [f"{unqualified}:$LATEST", f"{unqualified}:1"]
    client.delete_function(FunctionName="versions")
