"""One body of assertions for each port, run on the fake and on the adapter over moto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import orjson
import pytest

from foundation.aws.s3 import S3ObjectStore
from foundation.aws.sns import SnsNotifier
from foundation.errors import DeploymentError, ObjectNotFoundError
from foundation.metrics import EmbeddedMetrics
from foundation.ports import Notifier, ObjectStore
from row_batches.run.ports import DeadLetters
from row_batches.run.sqs import SqsDeadLetters
from tests.support.aws_resources import unique
from tests.support.fakes import SMALLEST_PART, FakeClock, FakeDeadLetters, FakeNotifier, FakeObjectStore
from tests.support.local_aws import LocalAws
from tests.support.moto_aws import moto_aws

REGION = "us-east-1"
MakeClient = Callable[[str], Any]
WORLDS = ["fake", "moto", pytest.param("local_aws", marks=pytest.mark.local_aws)]


@pytest.fixture
def moto() -> Iterator[MakeClient]:
    with moto_aws(REGION):
        yield lambda service: boto3.client(service)  # type: ignore[call-overload]  # the name is not a literal here


@pytest.fixture(scope="module")
def local_aws() -> Iterator[MakeClient]:
    with LocalAws() as aws:
        yield aws.client


def make_bucket(client: Any) -> str:
    bucket = unique("results")
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture(params=WORLDS)
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "fake":
        return FakeObjectStore()
    client = request.getfixturevalue(request.param)("s3")
    return S3ObjectStore(client, make_bucket(client))


def test_what_was_put_can_be_got_whole_or_in_chunks(objects: ObjectStore) -> None:
    body = bytes(range(256)) * 50_000  # more than one range of the adapter
    objects.put("a/b", body)

    assert objects.get("a/b") == body
    assert b"".join(objects.read("a/b")) == body
    assert b"".join(objects.read("a/b", start=len(body) - 7)) == body[-7:]
    assert b"".join(objects.read("a/b", start=len(body))) == b""
    assert objects.exists("a/b")


def test_an_empty_object_has_no_chunks(objects: ObjectStore) -> None:
    objects.put("empty", b"")

    assert b"".join(objects.read("empty")) == b""
    assert objects.get("empty") == b""


def test_a_new_object_does_not_replace_one_that_is_there(objects: ObjectStore) -> None:
    assert objects.put_new("brake", b"first")
    assert not objects.put_new("brake", b"second")

    assert objects.get("brake") == b"first"


def test_an_older_version_can_be_read(objects: ObjectStore) -> None:
    first = objects.put("a", b"first")
    objects.put("a", b"second")

    assert b"".join(objects.read("a", first)) == b"first"
    assert objects.get("a") == b"second"


@pytest.mark.parametrize(
    "read",
    [lambda objects: objects.get("no"), lambda objects: list(objects.read("no"))],
    ids=["get", "read"],
)
def test_an_object_that_does_not_exist_is_named(objects: ObjectStore, read: Callable[[ObjectStore], Any]) -> None:
    with pytest.raises(ObjectNotFoundError, match=f"s3://{objects.bucket}/no"):
        read(objects)
    assert not objects.exists("no")


def test_a_deleted_object_is_gone_and_may_be_deleted_again(objects: ObjectStore) -> None:
    objects.put("a", b"")
    objects.delete("a")
    objects.delete("a")

    assert not objects.exists("a")


def test_listings_are_in_key_order_begin_after_a_key_and_have_sizes(objects: ObjectStore) -> None:
    for key in ("p/3", "p/1", "p/2", "q/1"):
        objects.put(key, b"x" * int(key[-1]))

    assert [(stored.key, stored.size) for stored in objects.list_objects("p/", "p/1")] == [("p/2", 2), ("p/3", 3)]
    assert [stored.key for stored in objects.list_objects("p/", "p/1-")] == ["p/2", "p/3"]
    assert not list(objects.list_objects("nothing/"))


def test_a_listing_longer_than_one_page_is_complete(objects: ObjectStore) -> None:
    keys = [f"rows/{number:05d}" for number in range(1005)]
    for key in keys:
        objects.put(key, b"")

    assert [stored.key for stored in objects.list_objects("rows/")] == keys


def test_an_upload_is_visible_when_it_is_completed_and_a_part_may_be_replaced(objects: ObjectStore) -> None:
    upload = objects.start_upload("out", {"execution_id": "run 1"})
    objects.upload_part("out", upload, 1, b"w" * SMALLEST_PART)
    first = objects.upload_part("out", upload, 1, b"x" * SMALLEST_PART)
    second = objects.upload_part("out", upload, 2, b"end")
    assert not objects.exists("out")

    version = objects.complete_upload("out", upload, [first, second])

    assert objects.get("out") == b"x" * SMALLEST_PART + b"end"
    assert b"".join(objects.read("out", version))[-3:] == b"end"


def test_an_upload_that_was_completed_before_is_no_error_and_has_its_version(objects: ObjectStore) -> None:
    upload = objects.start_upload("out")
    etag = objects.upload_part("out", upload, 1, b"all")
    version = objects.complete_upload("out", upload, [etag])

    assert objects.complete_upload("out", upload, [etag]) == version
    assert version
    assert objects.get("out") == b"all"


@pytest.fixture(params=WORLDS[1:])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    made: MakeClient = request.getfixturevalue(request.param)
    return made


def test_tags_are_set_on_objects_and_uploads(make_client: MakeClient) -> None:
    client = make_client("s3")
    store = S3ObjectStore(client, make_bucket(client))
    store.put("a", b"", {"batch_name": "Weekly run", "target": "echo"})
    upload = store.start_upload("b", {"batch_name": "Weekly run"})
    store.complete_upload("b", upload, [store.upload_part("b", upload, 1, b"x")])

    def tags(key: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in client.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"]}

    assert tags("a") == {"batch_name": "Weekly run", "target": "echo"}
    assert tags("b") == {"batch_name": "Weekly run"}


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("run/output.csv", "text/csv; charset=utf-8"),
        ("run/summary.json", "application/json"),
        ("run/rows/1-2.jsonl", "application/x-ndjson"),
        ("a.csv/b", None),
        ("csv", None),
    ],
)
def test_objects_and_uploads_have_the_type_of_their_ending(
    make_client: MakeClient, key: str, content_type: str | None
) -> None:
    client = make_client("s3")
    store = S3ObjectStore(client, make_bucket(client))
    client.put_object(Bucket=store.bucket, Key="plain", Body=b"x")

    def type_of(key: str) -> str:
        found: str = client.head_object(Bucket=store.bucket, Key=key)["ContentType"]
        return found

    def upload() -> None:
        started = store.start_upload(key)
        store.complete_upload(key, started, [store.upload_part(key, started, 1, b"x")])

    for write in (lambda: store.put_new(key, b"x"), lambda: store.put(key, b"x"), upload):
        store.delete(key)
        write()
        assert type_of(key) == (content_type or type_of("plain"))


def test_names_of_executions_that_no_tag_can_hold_are_tagged_all_the_same(make_client: MakeClient) -> None:
    client = make_client("s3")
    store = S3ObjectStore(client, make_bucket(client))

    store.put("a", b"", {"execution_id": "Größe(2)!_1.+-=@"})

    tags = client.get_object_tagging(Bucket=store.bucket, Key="a")["TagSet"]
    assert tags == [{"Key": "execution_id", "Value": "Größe_2___1.+-=@"}]


def test_a_bucket_that_is_gone_is_a_fault_of_the_deployment(make_client: MakeClient) -> None:
    with pytest.raises(DeploymentError, match="NoSuchBucket"):
        S3ObjectStore(make_client("s3"), "nowhere-at-all").get("key")


Received = Callable[[], list[dict[str, Any]]]


@pytest.fixture(params=WORLDS)
def dead_letters(request: pytest.FixtureRequest) -> tuple[DeadLetters, Received]:
    if request.param == "fake":
        fake = FakeDeadLetters()
        return fake, lambda: fake.letters
    client = request.getfixturevalue(request.param)("sqs")
    name = unique("dead-letters")
    url = client.create_queue(QueueName=name)["QueueUrl"]

    def received() -> list[dict[str, Any]]:
        letters: list[dict[str, Any]] = []
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            letters += [orjson.loads(message["Body"]) for message in messages]
        return letters

    return SqsDeadLetters(lambda: client, name), received


def test_every_letter_arrives_be_they_many_or_long(dead_letters: tuple[DeadLetters, Received]) -> None:
    port, received = dead_letters
    letters = [{"row": row, "input": "x" * (row % 3) * 90_000} for row in range(25)]

    port.send(letters)

    assert sorted(received(), key=lambda letter: int(letter["row"])) == letters


def test_characters_that_sqs_refuses_are_sent_escaped() -> None:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html, MessageBody.
    sent: list[str] = []

    class Client:
        def get_queue_url(self, *, QueueName: str) -> dict[str, str]:  # noqa: N803
            return {"QueueUrl": QueueName}

        def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
            sent.extend(entry["MessageBody"] for entry in Entries)
            return {}

    letter = {"input": "\ufffe, \uffff, \x00, \x7f and \\uffff"}
    port: Any = SqsDeadLetters(lambda: Client(), "queue")  # type: ignore[arg-type,return-value]  # all that it calls

    port.send([letter])

    assert not set(sent[0]) & {"\ufffe", "\uffff", "\x00"}
    assert orjson.loads(sent[0]) == letter


def test_no_letters_are_no_call(dead_letters: tuple[DeadLetters, Received]) -> None:
    port, received = dead_letters

    port.send([])

    assert received() == []


def test_a_queue_that_is_gone_is_a_fault_of_the_deployment(make_client: MakeClient) -> None:
    client, name = make_client("sqs"), unique("gone")
    url = client.create_queue(QueueName=name)["QueueUrl"]
    port = SqsDeadLetters(lambda: client, name)
    port.send([{"row": 1}])
    client.delete_queue(QueueUrl=url)

    with pytest.raises(DeploymentError, match="sqs:SendMessage"):
        port.send([{"row": 2}])


def test_a_queue_that_never_was_is_a_fault_of_the_deployment(make_client: MakeClient) -> None:
    name = unique("never")
    port = SqsDeadLetters(lambda: make_client("sqs"), name)

    with pytest.raises(DeploymentError, match=f"sqs:GetQueueUrl on {name}"):
        port.send([{"row": 1}])


@pytest.fixture(params=WORLDS)
def notifier(request: pytest.FixtureRequest) -> tuple[Notifier, Received]:
    if request.param == "fake":
        fake = FakeNotifier()
        return fake, lambda: [body for _, body, _ in fake.published]
    make = request.getfixturevalue(request.param)
    sns, sqs = make("sns"), make("sqs")
    topic = sns.create_topic(Name=unique("notifications"))["TopicArn"]
    url = sqs.create_queue(QueueName=unique("inbox"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow_sns = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": orjson.dumps(allow_sns).decode()})
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    sns.set_subscription_attributes(
        SubscriptionArn=subscription,
        AttributeName="FilterPolicy",
        AttributeValue='{"status": ["STOPPED"], "rows_failed": [{"numeric": [">", 0]}]}',
    )

    def received() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", [])
        envelopes = [orjson.loads(message["Body"]) for message in messages]
        assert all(len(envelope["Subject"]) < 100 for envelope in envelopes)
        return [orjson.loads(envelope["Message"]) for envelope in envelopes]

    return SnsNotifier(sns, topic), received


def test_a_message_arrives_as_json_and_its_attributes_can_be_filtered(notifier: tuple[Notifier, Received]) -> None:
    port, received = notifier

    port.publish(
        "Wöchentlich: STOPPED " + "x" * 200, {"rows": 1}, {"status": "STOPPED", "rows_failed": 3, "target": ""}
    )

    assert received() == [{"rows": 1}]


def test_metrics_are_one_line_in_the_embedded_format(capsys: pytest.CaptureFixture[str]) -> None:
    EmbeddedMetrics("BatchProcessor", FakeClock(1234)).put("echo", {"RowsProcessed": (3, "Count")})

    assert orjson.loads(capsys.readouterr().out) == {
        "_aws": {
            "Timestamp": 1234,
            "CloudWatchMetrics": [
                {
                    "Namespace": "BatchProcessor",
                    "Dimensions": [["target"]],
                    "Metrics": [{"Name": "RowsProcessed", "Unit": "Count"}],
                }
            ],
        },
        "target": "echo",
        "RowsProcessed": 3,
    }
