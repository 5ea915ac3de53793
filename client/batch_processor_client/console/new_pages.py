"""The page that puts a run together: file, target, mapping, a tried row, columns, estimate, start."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from batch_processor_client import drafts, targets
from batch_processor_client.console.asking import Asked, ask
from batch_processor_client.console.page import Console, console_of, fields_of, refusal_of, script_call, sent_text
from batch_processor_client.documents import execution_name
from batch_processor_client.files import Transfer
from batch_processor_client.workbench import Board
from row_batches.files.table import MAX_FILE_BYTES
from row_batches.mapping.output_types import OUTPUT_TYPES

ESTIMATE_SECONDS = 90.0
"""How long the page waits for an estimate, which is a run by itself."""
UPLOAD_SECONDS = 3_600.0
TOLD_SECONDS = 0.5
"""The time between two messages about an upload."""
MOST_NAME_BYTES = 200
PARTS = {
    "file": "new_file.html",
    "target": "new_target.html",
    "output": "new_output.html",
    "settings": "new_settings.html",
    "problems": "problems.html",
}
"""The parts of the page that follow the document, each with its template."""


async def new_page(request: Request) -> Response:
    """The page, with an empty document or one for the target in the address."""
    console, target = console_of(request), request.query_params.get("target", "")
    change = ("target", {"value": target}) if target else ("", {})
    asked = await ask(lambda: console.workbench.board("", *change), console.patience)
    board = asked.answer
    return console.page(
        "new.html",
        503 if board is None else 200,
        problem=asked.problem,
        parts=_parts(console, board) if board else dict.fromkeys(PARTS, ""),
        document=drafts.text_of(board.look.document) if board else "{}",
        name=execution_name(target or "run", datetime.now(UTC)),
    )


def _parts(console: Console, board: Board) -> dict[str, str]:
    """The parts of the page, as markup, by name."""
    look, known = board.look, board.known
    values = {
        "board": board,
        "look": look,
        "problems": look.problems,
        "document": look.document,
        "sample": known.sample,
        "target": known.target,
        "reading": drafts.READING,
        "running": drafts.RUNNING,
        "formats": drafts.FORMATS_BESIDE_CSV,
        "chosen_formats": drafts.output_formats(look.document),
        "types": [one.name for one in OUTPUT_TYPES],
        "nodes": drafts.nodes_of(board.tried.answer) if board.tried and board.tried.answer is not None else [],
        "request_text": drafts.json_text(board.tried.request) if board.tried else "",
    }
    return {name: console.render(template, **values) for name, template in PARTS.items()}


@script_call
async def look(request: Request) -> Response:
    """The document after a change, and the parts of the page that follow it."""
    console, sent = console_of(request), await fields_of(request)
    text, change, tried = sent_text(sent, "document"), sent_text(sent, "change"), sent_text(sent, "tried")
    given = drafts.texts(sent.get("given"))
    asked = await ask(lambda: console.workbench.board(text, change, given, tried), console.patience)
    return _board_answer(console, asked, text if not change else "")


@script_call
async def try_row(request: Request) -> Response:
    """Call the target with a row of the sample."""
    console, sent = console_of(request), await fields_of(request)
    text, row = sent_text(sent, "document"), sent_text(sent, "row")
    asked = await ask(
        lambda: console.workbench.try_row(text, int(row) if row.isdecimal() else 0), targets.TRIED_SECONDS
    )
    return _board_answer(console, asked, text)


def _board_answer(console: Console, asked: Asked[Board], text: str = "") -> Response:
    """The parts of a board. ``text`` is that of the document, as it was written, if nothing changed it."""
    board = asked.answer
    if board is None:
        return refusal_of(asked)
    document = text or drafts.text_of(board.look.document)
    return JSONResponse({"document": document, "tried": board.tried_id, "parts": _parts(console, board)})


@script_call
async def take_file(request: Request) -> Response:
    """Put a file that was dropped into the input bucket; the answer has its address.

    An upload that takes longer answers with a JSON object a line: the bytes that are ``sent``, and at last the ``uri``
    or the ``problem``. It is cancelled when the browser no longer listens.
    """
    console = console_of(request)
    with ExitStack() as kept:
        path = Path(kept.enter_context(tempfile.TemporaryDirectory()))
        path /= file_name(unquote(request.headers.get("x-file-name", "")))
        size = 0
        with path.open("wb") as file:
            try:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > MAX_FILE_BYTES:
                        return JSONResponse({"problem": f"A file can be up to {MAX_FILE_BYTES:,} bytes."}, 400)
                    file.write(chunk)
            except ClientDisconnect:  # it was cancelled: nobody gets this answer
                return Response(status_code=400)
        transfer = Transfer()
        uploading = asyncio.create_task(ask(lambda: console.workbench.upload(path, transfer), UPLOAD_SECONDS))
        folder = kept.pop_all()
        uploading.add_done_callback(lambda _: folder.close())
    await asyncio.wait({uploading}, timeout=TOLD_SECONDS)
    if not uploading.done():
        return StreamingResponse(_tell(uploading, transfer), media_type="application/x-ndjson")
    asked = uploading.result()
    return refusal_of(asked) if asked.answer is None else JSONResponse({"uri": asked.answer})


def message_of(message: dict[str, Any]) -> str:
    """A JSON object on a line of its own."""
    return json.dumps(message) + "\n"


async def _tell(uploading: asyncio.Task[Asked[str]], transfer: Transfer) -> AsyncIterator[str]:
    """How far an upload is, from time to time, and its end."""
    try:
        while not uploading.done():
            yield message_of({"sent": transfer.sent})
            await asyncio.wait({uploading}, timeout=TOLD_SECONDS)
        asked = uploading.result()
        yield message_of({"uri": asked.answer} if asked.answer else {"problem": asked.problem})
    finally:
        transfer.cancel()


@script_call
async def estimate(request: Request) -> Response:
    """The plan and the cost of the document, from a dry run."""
    console, sent = console_of(request), await fields_of(request)
    text = sent_text(sent, "document")
    name = execution_name("estimate", datetime.now(UTC))
    asked = await ask(lambda: console.workbench.estimate(text, name), ESTIMATE_SECONDS)
    if asked.answer is None:
        return refusal_of(asked)
    return JSONResponse({"parts": {"plan": console.render("new_plan.html", plan=asked.answer)}})


@script_call
async def start(request: Request) -> Response:
    """Start the run; the answer has the address of its page."""
    console, sent = console_of(request), await fields_of(request)
    text, name = sent_text(sent, "document"), sent_text(sent, "name").strip()
    asked = await ask(lambda: console.workbench.start(text, name), console.patience)
    if asked.answer is None:
        return refusal_of(asked)
    return JSONResponse({"location": f"/runs/{quote(asked.answer, safe='')}"})


def file_name(given: str) -> str:
    """The name of a file as the last part of a key: no folder, no control character, no ``*``, up to 200 bytes."""
    name = re.sub(r"[\x00-\x1f\x7f*]", "_", re.split(r"[/\\]", given)[-1])
    name = name.encode(errors="replace")[-MOST_NAME_BYTES:].decode(errors="ignore")
    return name if name.strip(". ") else "rows.csv"


ROUTES = (
    Route("/new", new_page),
    Route("/new/look", look, methods=["POST"]),
    Route("/new/file", take_file, methods=["POST"]),
    Route("/new/try", try_row, methods=["POST"]),
    Route("/new/estimate", estimate, methods=["POST"]),
    Route("/new/start", start, methods=["POST"]),
)
