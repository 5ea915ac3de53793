"""Templates such as ``Write about {title}``: literal text and names in braces; ``{{`` and ``}}`` are literal braces."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])")


@dataclass(frozen=True, slots=True)
class Template:
    """``literals[i]`` stands before ``names[i]``; the last literal stands at the end."""

    literals: tuple[str, ...]
    names: tuple[str, ...]


def parse_template(text: str) -> Template:
    """Raises ValueError, naming the position (1-based), for a brace without its partner or an empty name."""
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
