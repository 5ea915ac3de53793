"""Rows that are in S3 already: the header of an object, of a folder, of a pattern, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.files import Transfer, open_object, put
from batch_processor_client.guesses import read_header
from batch_processor_client.inputs import named_objects
from foundation.errors import InvalidInputError
from tests.support.moto_aws import moto_aws
from tests.unit.client.fakes import OUTPUTS


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with moto_aws("us-east-1"):
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="rows")
        for key, body in {"day/a.csv": b"id\n1\n", "day/b.csv": b"id,text\n2,b\n", "day/_SUCCESS": b"x"}.items():
            s3.put_object(Bucket="rows", Key=key, Body=body)
        monkeypatch.setattr(Deployment, "client", lambda *_, **__: s3)
        yield Deployment.model_validate(OUTPUTS)


@pytest.mark.parametrize(
    ("uri", "columns"),
    [
        ("s3://rows/day/a.csv", ["id"]),
        ("s3://rows/day/", ["id", "text"]),
        ("s3://rows/day/b*.csv", ["id", "text"]),
    ],
)
def test_the_header_of_rows_in_s3_is_read_where_they_are(deployment: Deployment, uri: str, columns: list[str]) -> None:
    assert read_header(named_objects(deployment, uri)).columns == columns


def test_an_upload_says_how_many_bytes_are_sent_and_leaves_nothing_when_it_is_cancelled(
    deployment: Deployment, tmp_path: Path
) -> None:
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * 20_000_000)
    told: list[int] = []
    transfer = Transfer(told.append)
    put(deployment, large, "s3://rows/large.csv", transfer)
    assert (transfer.sent, sum(told)) == (20_000_000, 20_000_000)
    assert open_object(deployment, "s3://rows/large.csv")

    cancelled = Transfer()
    cancelled.cancel()
    with pytest.raises(ClientError, match=r"The upload of large\.csv was cancelled"):
        put(deployment, large, "s3://rows/cancelled.csv", cancelled)
    with pytest.raises(ClientError, match="There is no"):
        open_object(deployment, "s3://rows/cancelled.csv")
    assert "Uploads" not in deployment.client("s3").list_multipart_uploads(Bucket="rows")


def test_an_address_without_rows_is_refused(deployment: Deployment) -> None:
    with pytest.raises(ClientError, match="is not the address of rows"):
        named_objects(deployment, "s3://rows")
    with pytest.raises(InvalidInputError, match="no object matches"):
        named_objects(deployment, "s3://rows/night/")
    with pytest.raises(ClientError, match=r"There is no s3://rows/day/none\.csv"):
        named_objects(deployment, "s3://rows/day/none.csv")
