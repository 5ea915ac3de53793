"""The sections of the console: what the navigation shows, and the addresses behind it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.routing import Route

from batch_processor_client.console import job_pages, new_pages, remap_pages, run_pages, schema_pages, target_pages


@dataclass(frozen=True)
class Section:
    """The pages of one noun. ``path`` is that of the first one; a page's template names it as ``section``."""

    path: str
    title: str
    routes: tuple[Route, ...]


SECTIONS = (
    Section("/runs", "Runs", (*run_pages.ROUTES, *remap_pages.ROUTES)),
    Section("/new", "New run", new_pages.ROUTES),
    Section("/jobs", "Bedrock jobs", job_pages.ROUTES),
    Section("/targets", "Targets", (*target_pages.ROUTES, *schema_pages.ROUTES)),
)
"""To add a section, write a module ``*_pages`` with ``ROUTES``, and list it here in the order of the navigation."""
