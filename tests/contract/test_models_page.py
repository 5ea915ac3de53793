"""docs/reference/models.md has the table that models.json gives."""

from __future__ import annotations

from collections.abc import Iterator

from bedrock_batches.request.models import Model, model_table
from tests.support.terraform_files import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
ANSWERS = {True: "yes", False: "no", None: "not known"}


def regions(model_id: str, model: Model) -> str:
    if not model.batch:
        return "none"
    if model.batch_regions is not None:
        return ", ".join(f"`{region}`" for region in model.batch_regions)
    return f"those of the `{model_id.split('.', maxsplit=1)[0]}.` profile"


def table() -> Iterator[str]:
    titles = ("model", "batch inference in", "input, USD", "output, USD", "read on", "structured output", "Flex tier")
    yield f"| {' | '.join(titles)} | end of life |"
    yield "|---|---|---|---|---|---|---|---|"
    for model_id, model in model_table().items():
        prices = f"{model.input_usd_per_1k_tokens:f} | {model.output_usd_per_1k_tokens:f} | {model.as_of}"
        answers = f"{ANSWERS[model.structured_output]} | {ANSWERS[model.flex_tier]}"
        ends = str(model.end_of_life or "none known")
        yield f"| `{model_id}` | {regions(model_id, model)} | {prices} | {answers} | {ends} |"


def test_the_page_has_the_table_of_the_models() -> None:
    expected = "\n".join(table())
    assert expected in PAGE, f"put this into docs/reference/models.md:\n{expected}"
