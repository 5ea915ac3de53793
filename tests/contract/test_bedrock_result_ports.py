"""Claims, content and output objects: one body of assertions, run on the fakes and on the adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import boto3
import pytest
from botocore.exceptions import ClientError

from bedrock_batches.results import violations_dynamodb as violations_table
from bedrock_batches.results.claims_dynamodb import DynamoDbClaims
from bedrock_batches.results.ports import Claim, ClaimLostError, Claims, ContentItem, Counts, ResultObjects, Violations
from bedrock_batches.results.s3 import S3ResultObjects
from bedrock_batches.results.violations_dynamodb import DynamoDbViolations
from bedrock_batches.sync.lake_content import content_update
from bedrock_batches.violations import GeneratedContent
from foundation.aws import clients
from foundation.aws.lambda_ import LambdaEventCaller
from foundation.errors import DeploymentError, ObjectChangedError, ObjectNotFoundError, ThrottledError
from tests.support.aws_resources import unique
from tests.support.bedrock_results import BUCKET, FakeClaims, FakeResults, FakeViolations, Process, World
from tests.support.fakes import FakeClock
from tests.support.local_aws import LocalAws
from tests.support.moto_aws import moto_aws

MakeClient = Callable[[str], Any]
WORLDS = ["fake", "moto", pytest.param("local_aws", marks=pytest.mark.local_aws)]
JOB = "batch-1764000000-0123abcd"
OUTPUT = Claim(JOB, "bedrock-batches/output/x/input-0001.jsonl.out", '"e1"', 900, datetime(2026, 1, 1, tzinfo=UTC), 1)


@pytest.fixture
def moto() -> Iterator[MakeClient]:
    with moto_aws():
        yield lambda service: boto3.client(service)  # type: ignore[call-overload]  # the name is not a literal here


@pytest.fixture(scope="module")
def local_aws() -> Iterator[MakeClient]:
    with LocalAws() as aws:
        yield aws.client


def make_table(client: Any) -> str:
    table = unique("table")
    keys = [("PK", "HASH"), ("SK", "RANGE")]
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return table


# --- claims


@pytest.fixture(params=WORLDS)
def claims(request: pytest.FixtureRequest) -> Claims:
    if request.param == "fake":
        return FakeClaims(Process(World()))
    client = request.getfixturevalue(request.param)("dynamodb")
    return DynamoDbClaims(client, make_table(client))


def taken(claims: Claims, owner: str = "a", now_ms: int = 1_000) -> Claim:
    claim = claims.take(OUTPUT, owner, now_ms + 500, now_ms)
    assert claim is not None
    return claim


def test_a_claim_is_taken_once_until_its_lease_is_over(claims: Claims) -> None:
    first = taken(claims)

    assert (first.offset, first.lease_owner, first.lease_until_ms) == (0, "a", 1_500)
    assert claims.take(OUTPUT, "b", 2_000, 1_400) == first, "its owner goes on with it"
    assert taken(claims, "b", 1_500).lease_owner == "b"


def test_its_owner_takes_a_claim_again(claims: Claims) -> None:
    taken(claims)

    assert taken(claims, "a", 1_100).lease_until_ms == 1_600


def test_a_claim_goes_on_with_all_that_was_committed(claims: Claims) -> None:
    first = taken(claims)
    counts = Counts(1, 2, 3, 4, 5, 6, 7)
    after = replace(first, offset=450, chunks=1, counts=counts, answered=b"\x05\x00\xff", succeeded=b"\x04")
    claims.commit(first, after)
    claims.release(after)

    second = taken(claims, "b")

    assert second == replace(after, lease_owner="b", lease_until_ms=1_500)
    assert claims.of_job(JOB) == [second]


def test_of_two_that_commit_from_the_same_offset_one_counts(claims: Claims) -> None:
    slow = taken(claims)
    quick = taken(claims, "b", 2_000)
    claims.commit(quick, replace(quick, offset=450, chunks=1, counts=Counts(processed=5)))

    with pytest.raises(ClaimLostError):
        claims.commit(slow, replace(slow, offset=450, chunks=1, counts=Counts(processed=5)))

    assert claims.of_job(JOB)[0].counts.processed == 5


def test_a_claim_that_is_done_is_neither_taken_nor_committed_again(claims: Claims) -> None:
    first = taken(claims)
    done = replace(first, offset=900, done=True)
    claims.commit(first, done)

    assert claims.take(OUTPUT, "a", 9_000, 5_000) is None
    with pytest.raises(ClaimLostError):
        claims.commit(done, done)


def test_giving_back_a_lease_that_went_to_another_changes_nothing(claims: Claims) -> None:
    slow = taken(claims)
    quick = taken(claims, "b", 2_000)

    claims.release(slow)

    assert claims.of_job(JOB) == [quick]


def test_each_version_of_an_object_and_each_job_has_claims_of_its_own(claims: Claims) -> None:
    taken(claims)
    other_version = replace(OUTPUT, etag='"e2"', part=None)

    assert claims.take(other_version, "b", 1_500, 1_000) is not None
    assert claims.take(replace(OUTPUT, job_id="batch-1764000000-00000000"), "b", 1_500, 1_000) is not None

    assert sorted((claim.etag, claim.part) for claim in claims.of_job(JOB)) == [('"e1"', 1), ('"e2"', None)]


def test_of_many_that_take_a_claim_at_once_one_gets_it(claims: Claims) -> None:
    start = threading.Barrier(8)

    def take(number: int) -> bool:
        start.wait()
        claim = claims.take(OUTPUT, str(number), 1_500, 1_000)
        return claim is not None and claim.lease_owner == str(number)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(8))) == 1


def test_a_commit_whose_answer_is_lost_and_that_is_sent_again_is_no_lost_claim(moto: MakeClient) -> None:
    client = moto("dynamodb")

    class LosingAnswers:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def put_item(self, **request: Any) -> Any:
            client.put_item(**request)
            return client.put_item(**request)

    table = make_table(client)
    claim = taken(DynamoDbClaims(client, table))
    losing: Any = LosingAnswers()
    after = replace(claim, offset=10, chunks=1, answered=b"\x01", counts=Counts(processed=1))

    DynamoDbClaims(losing, table).commit(claim, after)

    assert DynamoDbClaims(client, table).of_job(JOB) == [after]


def test_a_claim_of_an_earlier_version_does_not_say_which_records_have_content(moto: MakeClient) -> None:
    client = moto("dynamodb")
    table = make_table(client)
    claims = DynamoDbClaims(client, table)
    claims.take(replace(OUTPUT, counts=Counts(processed=1), answered=b"\x01"), "a", 1_500, 1_000)
    (item,) = client.scan(TableName=table)["Items"]
    del item["succeeded"]
    client.put_item(TableName=table, Item=item)

    (claim,) = claims.of_job(JOB)

    assert (claim.answered, claim.succeeded) == (b"\x01", b"")


# --- content


class Shelf(Protocol):
    """A ``Violations`` whose items a test can see and set."""

    port: Violations

    def get(self, violation_id: str) -> dict[str, Any]: ...
    def set(self, violation_id: str, **attributes: Any) -> None: ...
    def count(self) -> int: ...


class FakeShelf:
    def __init__(self) -> None:
        self._world = World()
        self.port: Violations = FakeViolations(Process(self._world))

    def get(self, violation_id: str) -> dict[str, Any]:
        return self._world.violations[violation_id]

    def set(self, violation_id: str, **attributes: Any) -> None:
        self._world.violations[violation_id] = attributes

    def count(self) -> int:
        return len(self._world.violations)


class TableShelf:
    def __init__(self, client: Any) -> None:
        self.table = make_table(client)
        self.client = client
        self.port: Violations = DynamoDbViolations(client, self.table, FakeClock())

    def get(self, violation_id: str) -> dict[str, Any]:
        key = {"PK": {"S": f"VIOLATION#{violation_id}"}, "SK": {"S": "BEDROCK_CONTENT"}}
        item = self.client.get_item(TableName=self.table, Key=key, ConsistentRead=True)["Item"]
        plain = {name: next(iter(value.values())) for name, value in item.items()}
        return plain | {"title": plain["title_bedrock"]}

    def set(self, violation_id: str, title: str, generated_at: str, is_verified: bool = False) -> None:
        item = {
            "PK": {"S": f"VIOLATION#{violation_id}"},
            "SK": {"S": "BEDROCK_CONTENT"},
            "title_bedrock": {"S": title},
            "generated_at": {"S": generated_at},
            "is_verified": {"BOOL": is_verified},
        }
        self.client.put_item(TableName=self.table, Item=item)

    def count(self) -> int:
        return int(self.client.scan(TableName=self.table, Select="COUNT")["Count"])


@pytest.fixture(params=WORLDS)
def shelf(request: pytest.FixtureRequest) -> Shelf:
    if request.param == "fake":
        return cast(Shelf, FakeShelf())
    return cast(Shelf, TableShelf(request.getfixturevalue(request.param)("dynamodb")))


def content(number: int, generated_at: str = "2026-01-02T00:00:00.000Z", job_id: str = JOB) -> ContentItem:
    return ContentItem(
        violation_id=f"OSHA-{number}",
        agency="osha",
        content=GeneratedContent(title=f"Title {number}", description="What happened.", tags=["a", "b"]),
        generated_at=generated_at,
        job_id=job_id,
        model_id="model",
        prompt_version="1",
        input_tokens=7,
        output_tokens=3,
        stop_reason="end_turn",
    )


def test_all_items_are_written_and_none_kept(shelf: Shelf) -> None:
    assert shelf.port.put_content([content(n) for n in range(237)]) == 0

    assert shelf.count() == 237
    assert shelf.get("OSHA-236")["title"] == "Title 236"


def test_no_items_are_nothing_to_do(shelf: Shelf) -> None:
    assert shelf.port.put_content([]) == 0


def test_writing_the_same_again_keeps_nothing_and_changes_nothing(shelf: Shelf) -> None:
    shelf.port.put_content([content(n) for n in range(30)])
    before = shelf.get("OSHA-29")

    assert shelf.port.put_content([content(n) for n in range(40)]) == 0

    assert (shelf.count(), shelf.get("OSHA-29")) == (40, before)


def test_verified_and_newer_content_is_kept_and_older_is_replaced(shelf: Shelf) -> None:
    shelf.set("OSHA-0", title="verified", generated_at="2020-01-01T00:00:00.000Z", is_verified=True)
    shelf.set("OSHA-1", title="newer", generated_at="2030-01-01T00:00:00.000Z")
    shelf.set("OSHA-2", title="older", generated_at="2020-01-01T00:00:00.000Z")
    shelf.set("OSHA-3", title="of another job at that time", generated_at="2026-01-02T00:00:00.000Z")

    assert shelf.port.put_content([content(n) for n in range(5)]) == 2

    titles = [shelf.get(f"OSHA-{n}")["title"] for n in range(5)]
    assert titles == ["verified", "newer", "Title 2", "Title 3", "Title 4"]


def test_times_are_compared_as_moments_and_not_as_texts(shelf: Shelf) -> None:
    # Given an older time whose text sorts later, a newer one whose text sorts earlier, the same time in whole seconds
    shelf.set("OSHA-0", title="older", generated_at="2026-01-02T01:30:00+02:00")
    shelf.set("OSHA-1", title="newer", generated_at="2026-01-01T23:30:00-05:00")
    shelf.set("OSHA-2", title="at that time", generated_at="2026-01-02T00:00:00Z")
    shelf.set("OSHA-3", title="at no time", generated_at="yesterday")

    assert shelf.port.put_content([content(n) for n in range(4)]) == 2

    assert [shelf.get(f"OSHA-{n}")["title"] for n in range(4)] == ["Title 0", "newer", "Title 2", "at no time"]


# --- what the fake does not have


@pytest.fixture
def table(moto: MakeClient) -> TableShelf:
    return TableShelf(moto("dynamodb"))


@pytest.mark.parametrize("is_verified", [{"S": "true"}, {"S": "false"}, {"N": "1"}])
@pytest.mark.parametrize("race", [False, True], ids=["seen before", "set meanwhile"])
def test_content_that_is_verified_by_another_type_than_bool_is_kept(
    table: TableShelf, is_verified: dict[str, str], race: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.set("OSHA-1", title="edited", generated_at="2020-01-01T00:00:00.000Z")
    key = {"PK": {"S": "VIOLATION#OSHA-1"}, "SK": {"S": "BEDROCK_CONTENT"}}
    values = {":given": is_verified}
    table.client.update_item(
        TableName=table.table, Key=key, UpdateExpression="SET is_verified = :given", ExpressionAttributeValues=values
    )
    if race:
        monkeypatch.setattr(violations_table, "_is_verified", lambda stored: False)

    assert table.port.put_content([content(1)]) == 1

    assert table.get("OSHA-1")["title"] == "edited"


def test_an_item_has_all_that_is_promised(table: TableShelf) -> None:
    table.port.put_content([content(1)])

    item = table.get("OSHA-1")
    del item["title"]
    assert item == {
        "PK": "VIOLATION#OSHA-1",
        "SK": "BEDROCK_CONTENT",
        "violation_id": "OSHA-1",
        "agency": "osha",
        "title_bedrock": "Title 1",
        "description_bedrock": "What happened.",
        "tags": [{"S": "a"}, {"S": "b"}],
        "generated_at": "2026-01-02T00:00:00.000Z",
        "attribution": "Generated by AWS Bedrock (Batch)",
        "job_id": JOB,
        "model_id": "model",
        "prompt_version": "1",
        "input_tokens": "7",
        "output_tokens": "3",
        "stop_reason": "end_turn",
        "is_verified": False,
    }


class Stingy:
    """A client that leaves some of each batch unprocessed, and lets a person verify an item at the worst moment."""

    def __init__(self, client: Any, leaves: int, before_put: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._leaves = leaves
        self._before_put = before_put
        self.requests = 0

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 (boto3's name)
        ((table, wanted),) = RequestItems.items()
        keys = wanted["Keys"]
        done = max(0, len(keys) - self._leaves) if self.requests % 2 == 0 else len(keys)
        self.requests += 1
        unprocessed = {table: {"Keys": keys[done:]}} if keys[done:] else {}
        if not done:
            return {"Responses": {}, "UnprocessedKeys": unprocessed}
        answer = self._client.batch_get_item(RequestItems={table: {**wanted, "Keys": keys[:done]}})
        return {**answer, "UnprocessedKeys": unprocessed}

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803
        ((table, requests),) = RequestItems.items()
        done = max(0, len(requests) - self._leaves)
        if done:
            self._client.batch_write_item(RequestItems={table: requests[:done]})
        self.requests += 1
        return {"UnprocessedItems": {table: requests[done:]} if requests[done:] else {}}

    def put_item(self, **request: Any) -> Any:
        self._before_put()
        return self._client.put_item(**request)


def test_what_a_batch_leaves_unprocessed_is_sent_again(table: TableShelf) -> None:
    clock = FakeClock()
    stingy = Stingy(table.client, leaves=7)
    port = DynamoDbViolations(cast(Any, stingy), table.table, clock, threads=1)

    # 7 of the last request remain for good: it never takes more than it leaves.
    with pytest.raises(ThrottledError, match="left 7 items unprocessed 8 times"):
        port.put_content([content(n) for n in range(60)])

    assert table.count() >= 18


def test_unprocessed_items_and_keys_that_are_taken_later_are_all_written(table: TableShelf) -> None:
    table.set("OSHA-59", title="verified", generated_at="2020-01-01T00:00:00.000Z", is_verified=True)

    class Recovering(Stingy):
        def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803
            self._leaves = 0 if self.requests % 2 else 9
            return super().batch_write_item(RequestItems)

    port = DynamoDbViolations(cast(Any, Recovering(table.client, leaves=9)), table.table, FakeClock(), threads=1)

    assert port.put_content([content(n) for n in range(60)]) == 1
    assert (table.count(), table.get("OSHA-59")["title"]) == (60, "verified")


def test_only_violations_with_content_are_named(table: TableShelf) -> None:
    store = DynamoDbViolations(table.client, table.table, FakeClock())
    store.put_content([content(number) for number in range(150)])

    wanted = {f"OSHA-{number}" for number in range(100, 260)}
    assert store.with_content(wanted) == {f"OSHA-{number}" for number in range(100, 150)}
    assert store.with_content(set()) == set()


def test_items_are_read_whole_by_id_and_page_by_page(table: TableShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(violations_table, "PAGE_ITEMS", 40)
    store = DynamoDbViolations(table.client, table.table, FakeClock())
    store.put_content([content(number) for number in range(130)])
    table.client.put_item(
        TableName=table.table, Item={"PK": {"S": "VIOLATION#OSHA-1"}, "SK": {"S": "NOTE/of a person"}}
    )

    found = store.current({"OSHA-7", "OSHA-129", "OSHA-130"})
    assert sorted(found) == ["OSHA-129", "OSHA-7"]
    assert content_update(found["OSHA-7"]).content["title"] == "Title 7"

    class SmallAnswers:
        def __getattr__(self, name: str) -> Any:
            return getattr(table.client, name)

        def scan(self, **request: Any) -> Any:
            return table.client.scan(Limit=1, **request)

    small: Any = SmallAnswers()
    store, cursor = DynamoDbViolations(small, table.table, FakeClock()), ""
    pages: list[list[str]] = []
    while cursor or not pages:
        items, cursor = store.page(cursor)
        pages.append([item["PK"] for item in items])
    assert all(len(page) >= 40 for page in pages[:-1])
    assert len(pages) > 2
    assert sorted(key for page in pages for key in page) == sorted(f"VIOLATION#OSHA-{n}" for n in range(130))


def test_a_person_who_verifies_between_reading_and_writing_wins(table: TableShelf) -> None:
    old = "2020-01-01T00:00:00.000Z"
    table.set("OSHA-1", title="old", generated_at=old)

    def verify() -> None:
        table.set("OSHA-1", title="verified", generated_at=old, is_verified=True)

    port = DynamoDbViolations(cast(Any, Stingy(table.client, 0, verify)), table.table, FakeClock())

    assert port.put_content([content(1)]) == 1
    assert table.get("OSHA-1")["title"] == "verified"


def test_a_table_that_does_not_exist_is_a_fault_of_the_deployment(moto: MakeClient) -> None:
    with pytest.raises(DeploymentError, match="dynamodb:BatchGetItem on nowhere"):
        DynamoDbViolations(moto("dynamodb"), "nowhere", FakeClock()).put_content([content(1)])
    with pytest.raises(DeploymentError):
        DynamoDbClaims(moto("dynamodb"), "nowhere").take(OUTPUT, "a", 2, 1)


def test_a_client_that_does_not_check_parameters_writes_as_any_other(moto: MakeClient) -> None:
    shelf = TableShelf(moto("dynamodb"))
    for cached in (clients._session, clients._service_client):
        cached.cache_clear()
    client = clients.service_client("dynamodb", validates_parameters=False)

    assert DynamoDbViolations(client, shelf.table, FakeClock()).put_content([content(1)]) == 0

    assert shelf.get("OSHA-1")["title"] == "Title 1"


# --- output objects


@pytest.fixture(params=WORLDS)
def results(request: pytest.FixtureRequest) -> tuple[ResultObjects, Callable[[str, bytes], None]]:
    if request.param == "fake":
        world = World()
        return FakeResults(Process(world)), world.put
    client = request.getfixturevalue(request.param)("s3")
    bucket = unique(BUCKET)
    client.create_bucket(Bucket=bucket)
    return S3ResultObjects(client, bucket), lambda key, body: client.put_object(Bucket=bucket, Key=key, Body=body)


def test_an_object_is_read_in_ranges_from_any_offset(results: Any) -> None:
    port, put = results
    body = bytes(range(256)) * 40_000  # two and a half ranges of the adapter
    put("out/a.jsonl.out", body)

    result = port.head("out/a.jsonl.out")

    assert result.size == len(body)
    assert b"".join(port.read(result, 0)) == body
    assert b"".join(port.read(result, 5_000_000)) == body[5_000_000:]
    assert list(port.read(result, len(body))) == []


def test_another_version_of_an_object_is_not_read_on(results: Any) -> None:
    port, put = results
    put("a", b"one")
    result = port.head("a")
    put("a", b"two")

    with pytest.raises(ObjectChangedError):
        list(port.read(result, 0))


def test_a_missing_object_is_named(results: Any) -> None:
    port, _ = results

    with pytest.raises(ObjectNotFoundError):
        port.head("missing")


def test_objects_are_listed_as_head_gives_them(results: Any) -> None:
    port, put = results
    put("out/a", b"1")
    put("out/b", b"22")
    put("other", b"")

    assert list(port.list_objects("out/")) == [port.head("out/a"), port.head("out/b")]


# --- calls of functions


class FakeLambda:
    """boto3's client, as far as it is used; ``refuse`` is the code of its answer."""

    def __init__(self, refuse: str = "") -> None:
        self.requests: list[dict[str, Any]] = []
        self._refuse = refuse

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if self._refuse:
            raise ClientError({"Error": {"Code": self._refuse, "Message": "no"}}, "Invoke")
        return {"StatusCode": 202}


def test_a_function_is_called_without_waiting_for_it() -> None:
    client = FakeLambda()

    LambdaEventCaller(cast(Any, client), "job-events").call({"jobId": JOB})

    payload = b'{"jobId":"' + JOB.encode() + b'"}'
    assert client.requests == [{"FunctionName": "job-events", "InvocationType": "Event", "Payload": payload}]


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDeniedException", DeploymentError), ("TooManyRequestsException", ThrottledError)]
)
def test_a_call_that_lambda_refuses_is_named(code: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="lambda:InvokeFunction on job-events"):
        LambdaEventCaller(cast(Any, FakeLambda(code)), "job-events").call({})
