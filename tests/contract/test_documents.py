"""What the documents point at exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import reference

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "emulator" / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
MERMAID = re.compile(r"```mermaid\n(\w+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [REPOSITORY / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached:
            continue
        reached.add(document)
        links = re.findall(r"\]\(([^)#\s]+\.md)\)", document.read_text(encoding="utf-8"))
        waiting += [(document.parent / link).resolve() for link in links if "://" not in link]
    assert [str(path) for path in DOCUMENTS if path not in reached] == []


def test_the_readme_lists_every_how_to_concept_and_reference_page() -> None:
    listed = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("\n## Documentation\n", 1)[1]
    links = set(re.findall(r"\]\(([^)#\s]+)", listed))
    pages = [path for kind in ("how-to", "concepts", "reference") for path in (REPOSITORY / "docs" / kind).glob("*.md")]
    assert sorted({str(path.relative_to(REPOSITORY)) for path in pages} - links) == []


def test_the_architecture_lists_every_decision_in_order() -> None:
    page = (REPOSITORY / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\* \[.+\]\(\.\./decisions/(.+)\)$", page, re.MULTILINE)
    assert listed == sorted(path.name for path in (REPOSITORY / "docs" / "decisions").glob("*.md"))


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda path: path.stem)
def test_the_tables_of_a_reference_page_are_those_of_the_code(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == reference.written(page), "run make reference"


@pytest.mark.parametrize("path", reference.SCHEMAS, ids=lambda path: path.stem)
def test_a_schema_for_editors_is_that_of_the_model(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == reference.SCHEMAS[path](), "run make reference"


def test_the_signing_example_uses_no_variable_that_nothing_sets() -> None:
    page = (REPOSITORY / "docs" / "reference" / "admin-api.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) if "aws-sigv4" in block]
    # https://docs.aws.amazon.com/cli/latest/reference/configure/export-credentials.html
    exported = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    used = set(re.findall(r"\$\{?([A-Z_]+)", example))
    assert used - exported <= set(re.findall(r"\b([A-Z_]+)=", example))
    outputs = (REPOSITORY / "terraform" / "outputs.tf").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"jq -r \.(\w+)", example) if f'output "{name}"' not in outputs] == []


def test_each_diagram_is_of_a_known_kind() -> None:
    kinds = [kind for document in DOCUMENTS for kind in MERMAID.findall(document.read_text(encoding="utf-8"))]
    assert set(kinds) <= {"flowchart", "sequenceDiagram"}
    assert len(kinds) >= 7
