"""Cursors of listings: where a page of a DynamoDB query ended, as text for a URL."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from foundation.aws.dynamodb_items import to_item


def cursor_after(last_key: Mapping[str, Any] | None) -> str:
    """The cursor after a page whose ``LastEvaluatedKey`` is given; "" after the last page.

    It holds the values of that key, which the page itself shows, too.
    """
    if not last_key:
        return ""
    place = {name: value["S"] for name, value in last_key.items()}
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def start_key(cursor: str, index_key: str, index_value: str, sort_key: str) -> dict[str, Any]:
    """The ``ExclusiveStartKey`` of a cursor of the index with these keys, whose items have ``index_value``.

    Raises ValueError for a cursor of another listing.
    """
    try:
        place = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        place = None
    if (
        not isinstance(place, dict)
        or set(place) != {"PK", "SK", index_key, sort_key}
        or place[index_key] != index_value
        or not all(isinstance(text, str) and text for text in place.values())
    ):
        raise ValueError("not a cursor of this listing")
    return to_item(place)
