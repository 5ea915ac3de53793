"""Templates such as ``Write about {title}``: literal text and names in braces; ``{{`` and ``}}`` are literal braces."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])")


class Template(NamedTuple):
    """A parsed template: ``literals[i]`` comes before ``names[i]``, and the last literal ends the text."""

    literals: tuple[str, ...]
    names: tuple[str, ...]


def parse_template(text: str) -> Template:
    """Parse a template. Raises ValueError with the 1-based position of an unmatched brace or an empty name."""
    literals, names = [""], []
    position = 0
    for token in _TOKEN.finditer(text):
        literals[-1] += text[position : token.start()]
        position = token.end()
        if token["stray"]:
            raise ValueError(f"a single {token['stray']} at character {token.start() + 1} has no partner")
        if token["name"] is None:
            literals[-1] += token[0][0]
        elif not token["name"].strip():
            raise ValueError(f"the braces at character {token.start() + 1} hold no name")
        else:
            names.append(token["name"])
            literals.append("")
    literals[-1] += text[position:]
    return Template(tuple(literals), tuple(names))
