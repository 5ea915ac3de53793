"""A Query of a table reads one page of the items between the sort keys that it names, as in DynamoDB.

MiniStack evaluates the key condition for every item of the partition in every request. A partition of 50,000 items,
read in ranges, would keep the server busy for minutes. Here the sort keys of a partition are kept in order, and
MiniStack's Query sees a table that has the items of the page alone. It still checks the request and the condition.
MiniStack itself answers queries of indexes, and of tables whose sort key is not a text.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

from ministack.services import dynamodb

SORTED_KEYS = "_sorted_keys"
"""In a table: the sort keys of its partitions in order, by partition key. Made at a partition's first query."""

Table = dict[str, Any]
Token = tuple[str, str]


def sorted_keys(table: Table, partition: str) -> list[str]:
    known: dict[str, list[str]] = table.setdefault(SORTED_KEYS, {})
    if partition not in known:
        known[partition] = sorted(table["items"].get(partition, ()))
    return known[partition]


def text_of(value: object) -> str | None:
    """The text of an attribute value, None for one of another type."""
    text = value.get("S") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def bounds(keys: list[str], clause: list[Token], values: Mapping[str, Any]) -> tuple[int, int] | None:
    """The indexes of the first key that fits the condition of the sort key, and of the one after the last.

    None for a condition in another form, such as with its key on the right.
    """
    texts = [text_of(values.get(text)) for kind, text in clause if kind == "VALUE_REF"]
    given = [text for text in texts if text is not None]
    form = " ".join("begins_with" if word == "begins_with" else kind for kind, word in clause)
    if len(given) != len(texts):
        return None
    if form in ("IDENT IDENT VALUE_REF IDENT VALUE_REF", "NAME_REF IDENT VALUE_REF IDENT VALUE_REF"):
        return bisect_left(keys, given[0]), bisect_right(keys, given[1])
    if form.startswith("begins_with LPAREN ") and form.endswith(" COMMA VALUE_REF RPAREN") and len(clause) == 6:
        (prefix,) = given
        return bisect_left(keys, prefix), bisect_right(keys, prefix, key=lambda key: key[: len(prefix)])
    if len(clause) == 3 and clause[0][0] != "VALUE_REF" and len(given) == 1:
        below, through = bisect_left(keys, given[0]), bisect_right(keys, given[0])
        return {
            "EQ": (below, through),
            "GE": (below, len(keys)),
            "GT": (through, len(keys)),
            "LE": (0, through),
            "LT": (0, below),
        }.get(clause[1][0])
    return None


def page(items: Iterable[Table], limit: int | None) -> Iterator[Table]:
    """The items of one page, and the one after it, which shows that there is a next page."""
    size = 0
    for count, item in enumerate(items):
        yield item
        if size > dynamodb._DDB_PAGE_SIZE_BYTES or (limit is not None and count >= limit):
            return
        size += dynamodb._item_size_bytes(item)


def narrowed(table: Table, data: Table) -> Table | None:
    """The table with only the items of one page of the query. None for a query that reads the whole partition."""
    condition, limit, sort_name = data.get("KeyConditionExpression"), data.get("Limit"), table["sk_name"]
    if data.get("IndexName") or not sort_name or dynamodb._get_attr_type(table, sort_name) != "S":
        return None
    if not isinstance(condition, str) or not (limit is None or (isinstance(limit, int) and limit > 0)):
        return None
    values, names = data.get("ExpressionAttributeValues") or {}, data.get("ExpressionAttributeNames") or {}
    partition = dynamodb._extract_pk_from_condition(condition, values, names, table["pk_name"])
    if partition not in table["items"]:
        return None
    try:
        clauses = dynamodb._key_condition_clauses(dynamodb._tokenize(condition))
    except ValueError:
        return None
    keys = sorted_keys(table, partition)
    first, end = 0, len(keys)
    for clause in clauses:
        if any(sort_name in (text, names.get(text)) for _, text in clause):
            found = bounds(keys, clause, values)
            if found is None:
                return None
            first, end = found
    forward = data.get("ScanIndexForward", True)
    start = data.get("ExclusiveStartKey")
    if start:
        after = text_of(start.get(sort_name)) if isinstance(start, dict) else None
        if after is None:
            return None
        if forward:
            first = max(first, bisect_right(keys, after))
        else:
            end = min(end, bisect_left(keys, after))
    stored, wanted = table["items"][partition], keys[first:end]
    found_items = (stored[key] for key in (wanted if forward else reversed(wanted)) if key in stored)
    return {**table, "items": {partition: dict(enumerate(page(found_items, limit)))}}


def reading_one_page(query: FunctionType) -> Callable[[Table], Any]:
    """MiniStack's Query, which looks up its table in its module and finds the table of the page there."""

    def ask(data: Table) -> Any:
        name = dynamodb._normalize_table_name(data.get("TableName"))
        table = dynamodb._tables.get(name) if isinstance(name, str) else None
        found = narrowed(table, data) if table else None
        if found is None:
            return query(data)
        return FunctionType(query.__code__, {**vars(dynamodb), "_tables": {name: found}})(data)

    return ask


def keeping_order(set_item: Callable[..., Any]) -> Callable[..., Any]:
    def set_and_insert(table: Table, partition: str, key: str, item: Table) -> Any:
        is_new = key not in table["items"].get(partition, {})
        old = set_item(table, partition, key, item)
        if is_new and partition in table.get(SORTED_KEYS, {}):
            insort(table[SORTED_KEYS][partition], key)
        return old

    return set_and_insert


def forgetting_key(remove_item: Callable[..., Any]) -> Callable[..., Any]:
    def remove_and_forget(table: Table, partition: str, key: str) -> Any:
        old = remove_item(table, partition, key)
        if old is not None and partition in table.get(SORTED_KEYS, {}):
            keys = table[SORTED_KEYS][partition]
            del keys[bisect_left(keys, key)]
        return old

    return remove_and_forget


def forgetting_order(items_replaced: Callable[[Table], None]) -> Callable[[Table], None]:
    def replaced(table: Table) -> None:
        table.pop(SORTED_KEYS, None)
        items_replaced(table)

    return replaced


def install() -> None:
    """Keep the sort keys in order, and read by them."""
    dynamodb._query = reading_one_page(dynamodb._query)
    dynamodb._set_item = keeping_order(dynamodb._set_item)
    dynamodb._remove_item = forgetting_key(dynamodb._remove_item)
    dynamodb._items_replaced = forgetting_order(dynamodb._items_replaced)
