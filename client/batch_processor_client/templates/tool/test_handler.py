"""Run it with ``pytest`` in this folder. Tests are not deployed."""

from handler import handler  # type: ignore[import-not-found]  # the file beside this one


def test_it_counts_words() -> None:
    answer = handler({"id": "run:1:1", "name": "words", "input": {"text": "two words"}}, None)
    assert answer == {"type": "tool_result", "tool_use_id": "run:1:1", "content": {"words": 2}}
