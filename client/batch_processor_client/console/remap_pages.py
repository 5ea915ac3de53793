"""The page that writes the output of a run with other columns, tried on its kept answers first."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batch_processor_client import drafts
from batch_processor_client.console.asking import Asked, ask
from batch_processor_client.console.page import Console, console_of, fields_of, refusal_of, script_call, sent_text
from batch_processor_client.executions import name_of
from batch_processor_client.workbench import RemapBoard
from row_batches.mapping.output_types import OUTPUT_TYPES

WRITE_SECONDS = 90.0
"""How long the page waits for the new output, which is written in any case."""
PARTS = ("remap_columns", "remap_preview", "problems")


async def remap_page(request: Request) -> Response:
    """The page, with the run's own columns."""
    console, name = console_of(request), _name(request)
    asked = await ask(lambda: console.workbench.remap_board(name), console.patience)
    board = asked.answer
    return console.page(
        "remap.html",
        503 if board is None else 200,
        problem=asked.problem,
        name=name,
        parts=_parts(console, board) if board else dict.fromkeys(PARTS, ""),
        document=drafts.text_of(board.document) if board else "",
    )


def _parts(console: Console, board: RemapBoard) -> dict[str, str]:
    """The parts of the page, as markup, by name."""
    values = {
        "board": board,
        "problems": board.problems,
        "nodes": drafts.nodes_of(board.answer.answer) if board.answer else [],
        "types": [one.name for one in OUTPUT_TYPES],
        "formats": drafts.FORMATS_BESIDE_CSV,
        "chosen_formats": drafts.output_formats(board.document),
    }
    return {name: console.render(f"{name}.html", **values) for name in PARTS}


@script_call
async def look(request: Request) -> Response:
    """The document after a change, and the columns that the kept answers give with it."""
    console, name, sent = console_of(request), _name(request), await fields_of(request)
    text, change, row = (sent_text(sent, field) for field in ("document", "change", "row"))
    asked: Asked[RemapBoard] = await ask(
        lambda: console.workbench.remap_board(
            name, text, change, drafts.texts(sent.get("given")), int(row) if row.isdecimal() else 0
        ),
        console.patience,
    )
    board = asked.answer
    if board is None:
        return refusal_of(asked)
    document = drafts.text_of(board.document) if change or not text else text
    return JSONResponse({"document": document, "parts": _parts(console, board)})


@script_call
async def write(request: Request) -> Response:
    """Write the new output; the answer has the address of the run's page."""
    console, name, sent = console_of(request), _name(request), await fields_of(request)
    text = sent_text(sent, "document")
    asked = await ask(lambda: console.workbench.remap(name, text), WRITE_SECONDS)
    if asked.answer is None:
        return refusal_of(asked)
    return JSONResponse({"location": f"/runs/{quote(name, safe='')}?done=remap"})


def _name(request: Request) -> str:
    return name_of(str(request.path_params["name"]))


ROUTES = (
    Route("/runs/{name}/remap", remap_page),
    Route("/runs/{name}/remap/look", look, methods=["POST"]),
    Route("/runs/{name}/remap/write", write, methods=["POST"]),
)
