"""Where answers are kept for later batches: the same of the table and of the fake."""

from __future__ import annotations

import random
from collections.abc import Iterator

import boto3
import pytest

from row_batches.run.answer_cache import AnswerCache, CachedAnswer
from row_batches.run.cache_dynamodb import MOST_ANSWER_BYTES, DynamoDbAnswers
from tests.support.fakes import FakeAnswers
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_answers_table

NOW_MS = 1_790_000_000_000


@pytest.fixture(params=["table", "fake"])
def cache(request: pytest.FixtureRequest) -> Iterator[AnswerCache]:
    if request.param == "fake":
        yield FakeAnswers()
        return
    with moto_aws("eu-west-1"):
        client = boto3.client("dynamodb")
        yield DynamoDbAnswers(client, make_answers_table(client))


def answer(number: int, text: str = "") -> CachedAnswer:
    return CachedAnswer(f"id-{number}", "echo", "1@abc", (text or f'{{"n":{number}}}').encode())


def test_answers_are_found_by_their_ids_as_long_as_they_are_recent_enough(cache: AnswerCache) -> None:
    cache.keep([answer(number) for number in range(60)], NOW_MS, days=2)
    cache.keep([answer(1, '"newer"')], NOW_MS + 1_000, days=2)

    found = dict(cache.get([f"id-{number}" for number in range(1, 80)], NOW_MS))

    assert found == {f"id-{number}": f'{{"n":{number}}}'.encode() for number in range(2, 60)} | {"id-1": b'"newer"'}
    assert dict(cache.get(["id-1", "id-2"], NOW_MS + 1)) == {"id-1": b'"newer"'}
    assert dict(cache.get([], NOW_MS)) == {}


def test_one_answer_given_twice_is_kept_once(cache: AnswerCache) -> None:
    cache.keep([answer(1), answer(1)], NOW_MS, days=1)

    assert dict(cache.get(["id-1"], 0)) == {"id-1": b'{"n":1}'}


def test_an_answer_that_no_item_holds_is_left_out_and_a_large_one_is_not(cache: AnswerCache) -> None:
    letters = random.Random(1)
    noise = "".join(letters.choices("0123456789abcdef", k=3 * MOST_ANSWER_BYTES))
    cache.keep([answer(1, f'"{noise}"'), answer(2, f'"{"x" * MOST_ANSWER_BYTES}"'), answer(3)], NOW_MS, days=1)

    assert sorted(dict(cache.get(["id-1", "id-2", "id-3"], NOW_MS))) == ["id-2", "id-3"]


def test_items_expire_with_the_days_of_the_batch_that_kept_them() -> None:
    with moto_aws("eu-west-1"):
        client = boto3.client("dynamodb")
        table = make_answers_table(client)
        DynamoDbAnswers(client, table).keep([answer(1)], NOW_MS, days=3)

        (item,) = client.scan(TableName=table)["Items"]

    assert (item["target"]["S"], item["version"]["S"]) == ("echo", "1@abc")
    assert int(item["ttl"]["N"]) == NOW_MS // 1000 + 3 * 86_400
