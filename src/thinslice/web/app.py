"""The routes of ``thinslice web``: a page, and the same as a service."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from thinslice import DEFAULT_BUNDLE, __version__
from thinslice.errors import ThinsliceError
from thinslice.infer.example import example_clip
from thinslice.web import results
from thinslice.web.bundles import allowed_bundle, offered_bundles
from thinslice.web.guard import Guard
from thinslice.web.line import Ticket, WaitingLine
from thinslice.web.openapi import docs_page, openapi_document
from thinslice.web.refusal import Refusal
from thinslice.web.shelf import Shelf
from thinslice.web.upload import Upload, receive_upload
from thinslice.web.workers import Failed, ScoredUpload, UploadJob, Worker

STATIC = Path(__file__).with_name("static")
STREAM = "application/x-ndjson"
MAX_UPLOADS = 200
"""Most clips that may be on their way at once."""


@dataclass(frozen=True)
class ServerSettings:
    """What the owner of a server decides.

    Attributes:
        bundle: the model that is used where a request names none.
        max_mb: largest clip, MB (2**20 bytes).
        num_workers: processes that score.
        threads: processors for each of them.
        limit_s: how long one clip may take, seconds.
    """

    bundle: str = DEFAULT_BUNDLE
    max_mb: int = 200
    num_workers: int = 2
    threads: int = 1
    limit_s: float = 120.0


def build_app(
    settings: ServerSettings,
    folder: Path,
    hosts: frozenset[str],
    make_worker: Callable[[str, int, float], Worker] = Worker,
) -> Starlette:
    """Return the page and the service as an ASGI application.

    Args:
        settings: what its owner decided.
        folder: private folder for uploads.
        hosts: names under which it may be addressed (`known_hosts`).
        make_worker: what makes a worker of bundle, threads and time limit.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        workers = [
            make_worker(settings.bundle, settings.threads, settings.limit_s) for _ in range(settings.num_workers)
        ]
        app.state.line = WaitingLine(workers)
        app.state.shelf = Shelf()
        app.state.num_uploads = 0
        await app.state.line.open()
        forgetting = asyncio.create_task(app.state.shelf.forget_in_time())
        yield
        forgetting.cancel()
        await app.state.line.close()

    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/api/predict", _predict, methods=["POST"]),
            Route("/api/health", _health),
            Route("/api/bundles", _bundles),
            Route("/api/openapi.json", _openapi),
            Route("/api/docs", _docs),
            Route("/results/{tokens}", results.forget, methods=["DELETE"]),
            Route("/results/{tokens}/report.html", results.report),
            Route("/results/{tokens}/predictions.csv", results.table),
            Route("/results/{tokens}/predictions.json", results.document),
            Route("/example.mp4", _example),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: http_error, ThinsliceError: own_error, Exception: unexpected_error},
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.folder = folder
    return app


async def http_error(request: Request, error: Exception) -> Response:
    """Answer what no route serves as the contract has it."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def own_error(request: Request, error: Exception) -> Response:
    """Answer what the caller got wrong."""
    return error.response() if isinstance(error, Refusal) else JSONResponse({"error": str(error)}, 422)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """Answer what we got wrong; the server's log has the traceback."""
    return JSONResponse({"error": f"unexpected {type(error).__name__}; the server's log says more"}, 500)


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "page.html")


async def _example(request: Request) -> Response:
    example = example_clip()
    if example is None:
        raise HTTPException(404, "the example clip is not installed")
    return FileResponse(example)


async def _health(request: Request) -> Response:
    line: WaitingLine = request.app.state.line
    return JSONResponse(
        {
            "status": "ok",
            "version": __version__,
            "workers": len(line.workers),
            "running": len(line.running),
            "waiting": len(line.waiting),
        }
    )


async def _bundles(request: Request) -> Response:
    settings: ServerSettings = request.app.state.settings
    return JSONResponse(
        {
            "bundles": await run_in_threadpool(offered_bundles, settings.bundle),
            "default": settings.bundle,
            "max_mb": settings.max_mb,
            "example": example_clip() is not None,
        }
    )


async def _openapi(request: Request) -> Response:
    return JSONResponse(openapi_document(request.app.state.settings.max_mb))


async def _docs(request: Request) -> Response:
    return Response(docs_page(request.app.state.settings.max_mb, str(request.base_url)), media_type="text/html")


async def _predict(request: Request) -> Response:
    """Take a clip, wait for its turn, answer its scores; with Accept: application/x-ndjson, line by line."""
    state = request.app.state
    if state.num_uploads >= MAX_UPLOADS:
        raise Refusal(429, f"{MAX_UPLOADS} clips are on their way; try again in a minute", 60)
    state.num_uploads += 1
    folder = Path(tempfile.mkdtemp(dir=state.folder))
    try:
        upload = await receive_upload(request, folder, state.settings.max_mb)
        streamed = STREAM in request.headers.get("accept", "")
        job = _job(upload, state.settings.bundle, explain=streamed)
        ticket = await state.line.enter(job, request.client.host if request.client else "")
    except BaseException:
        _gone(state, folder)
        raise
    if streamed:
        return StreamingResponse(_lines(state, ticket, folder), media_type=STREAM)
    try:
        result = await _result(request, state.line, ticket)
    finally:
        state.line.leave(ticket)
        _gone(state, folder)
    if isinstance(result, Failed):
        raise Refusal(422, result.error)
    return JSONResponse(result.prediction.to_dict())


def _gone(state: Any, folder: Path) -> None:
    """Remove an upload."""
    state.num_uploads -= 1
    shutil.rmtree(folder, ignore_errors=True)


def _job(upload: Upload, default: str, explain: bool) -> UploadJob:
    if upload.clip is None:
        raise Refusal(400, "no clip; send the media file in the field clip")
    bundle = allowed_bundle(upload.bundle, default)
    return UploadJob(upload.clip, upload.name, upload.words, bundle, explain)


async def _result(request: Request, line: WaitingLine, ticket: Ticket) -> ScoredUpload | Failed:
    """Wait for a result; a caller that goes away leaves the line."""

    async def news() -> ScoredUpload | Failed:
        while True:
            entry = await ticket.news.get()
            if not isinstance(entry, dict):
                return entry

    async def gone() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(0.5)

    waiting, leaving = asyncio.create_task(news()), asyncio.create_task(gone())
    await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    return Failed("the caller went away")


async def _lines(state: Any, ticket: Ticket, folder: Path) -> AsyncIterator[str]:
    """Yield what happens to a clip, a JSON document a line; the last is its result or an error."""
    try:
        while True:
            entry = await ticket.news.get()
            if isinstance(entry, dict):
                yield json.dumps(entry) + "\n"
                continue
            if isinstance(entry, Failed):
                yield json.dumps({"error": entry.error}) + "\n"
            else:
                yield json.dumps(results.for_page(entry, state.shelf.keep(entry)), allow_nan=False) + "\n"
            return
    finally:
        state.line.leave(ticket)
        with suppress(OSError):
            _gone(state, folder)
