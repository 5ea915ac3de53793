"""The built-in model: the same prompt always gets the same answer.

It answers a prompt that asks for JSON with `{"title", "description", "tags"}`, made of what the prompt says about the
record. As real models do, it sometimes puts the JSON in a fence or a sentence before it; a hash of the prompt decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from emulator.bedrock.structured import Schema, conforming

CHARACTERS_PER_TOKEN = 4
"""Characters of a token, roughly as in English (https://docs.aws.amazon.com/bedrock/latest/userguide/model-customization-prepare.html)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of a model: all texts of a request, and the most tokens of the answer."""

    text: str
    max_tokens: int | None = None
    schema: Schema | None = None
    """The schema of the answer. If it is given, the answer is only JSON."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a model. `cut` says that the token limit ended the text."""

    text: str
    cut: bool
    input_tokens: int
    output_tokens: int


def tokens_of(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def reply_to(prompt: Prompt, *, broken: bool = False) -> Reply:
    """The answer to a prompt. A `broken` answer is not JSON or, with a schema, ends in the middle of it."""
    text = answer(prompt.text, prompt.schema, broken=broken)
    ends_early = broken and prompt.schema is not None
    cut = ends_early or (prompt.max_tokens is not None and tokens_of(text) > prompt.max_tokens)
    if cut and not ends_early and prompt.max_tokens is not None:
        text = text[: prompt.max_tokens * CHARACTERS_PER_TOKEN]
    return Reply(text, cut, tokens_of(prompt.text), tokens_of(text))


def answer(prompt: str, schema: Schema | None = None, *, broken: bool = False) -> str:
    """The model's text."""
    digest = blake2b(prompt.encode("utf-8", "replace"), digest_size=8).digest()
    if broken and schema is not None:
        return f'{{"title": "{digest.hex()}'
    if broken:
        return f'Here is the record you asked for: {{"title": "{digest.hex()}", "description": "unfinished'
    lower = prompt.lower()
    if "json" not in lower and schema is None:
        return f"This is the answer to prompt {digest.hex()}."
    company = _value(prompt, lower, "company name", "company_name", "company") or "The company"
    kind = _value(prompt, lower, "violation type", "violation_type", "violation") or "a violation"
    city = _value(prompt, lower, "city")
    place = f" in {city}" if city else ""
    title = f"{company}: {kind}{place}"
    description = (
        f"{company} was cited for {kind.lower()}{place}. The authority's record names what was found on site and what "
        f"it costs the company. Reference {digest.hex()}."
    )
    tags = [slug for slug in (_slug(kind), _slug(city), _slug(company), f"ref-{digest.hex()[:4]}") if slug]
    content: dict[str, object] = {"title": title[:200], "description": description, "tags": tags}
    if schema is not None:
        return json.dumps(conforming(schema, content), ensure_ascii=False)
    return DRESSES[digest[0] % len(DRESSES)](content)


def _plain(content: dict[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False)


def _fenced(content: dict[str, object]) -> str:
    return f"```json\n{json.dumps(content, ensure_ascii=False, indent=2)}\n```"


def _prefixed(content: dict[str, object]) -> str:
    return f"Here is the JSON for this record:\n\n{_plain(content)}"


def _prefixed_and_fenced(content: dict[str, object]) -> str:
    return f"Sure. Here is the content {{as asked}}:\n\n{_fenced(content)}\n\nLet me know if you need another version."


DRESSES: tuple[Callable[[dict[str, object]], str], ...] = (_plain, _fenced, _prefixed, _prefixed_and_fenced)


VALUE = re.compile(r'\\?"?\s{0,3}[:=]\s{0,3}\\?"?([^"\\\n;<>{}]{1,80})')
"""The pattern after a name in `name: value`, `"name": "value"` or `name = value`, also in JSON within JSON."""


def _value(prompt: str, lower: str, *names: str) -> str:
    """The value of the first of these names that has one in the prompt."""
    for name in names:
        place = lower.find(name)
        while place >= 0:
            found = VALUE.match(prompt, place + len(name))
            if found and found[1].strip(" ,."):
                return found[1].strip(" ,.")
            place = lower.find(name, place + 1)
    return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]
