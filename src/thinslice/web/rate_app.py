"""The routes of ``thinslice rate``: one page, its tasks, and the clips of the manifest under names that say nothing."""

import json
import mimetypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from thinslice.documents import Document
from thinslice.errors import ThinsliceError, first_line
from thinslice.rate.answers import NotKeptError
from thinslice.rate.session import Session
from thinslice.web.app import STATIC, http_error, own_error, unexpected_error
from thinslice.web.guard import Guard
from thinslice.web.refusal import Refusal

MAX_BODY_BYTES = 20_000


class Said(Document):
    """What the page sends.

    Attributes:
        rater: the rater's code.
        task: of an answer.
        answers: one for each question, null for "cannot say".
        seconds: how long it took.
        watched_s: how long each clip was played.
    """

    rater: str
    task: str = ""
    answers: tuple[float | None, ...] = ()
    seconds: float = 0.0
    watched_s: tuple[float, ...] = ()


def build_rate_app(session: Session, media: Mapping[str, Path], hosts: frozenset[str]) -> Starlette:
    """Return the page for raters as an ASGI application.

    Args:
        session: the running study.
        media: clip -> its file; nothing else is served.
        hosts: names under which the server may be addressed (`known_hosts`).
    """

    def post(work: Callable[[Said], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            # In a thread: it may wait for the disk, or plan pairs.
            return JSONResponse(await run_in_threadpool(work, await _said(request)))

        return answer

    def begin(said: Said) -> dict[str, Any]:
        session.check_rater(said.rater)
        return {"consented": session.consented(said.rater)}

    def consent(said: Said) -> dict[str, Any]:
        session.consent(said.rater)
        return {"consented": True}

    def next_task(said: Said) -> dict[str, Any]:
        return session.describe(said.rater, session.next(said.rater))

    def keep(said: Said) -> dict[str, Any]:
        session.answer(said.rater, said.task, said.answers, said.seconds, said.watched_s)
        return next_task(said)

    def undo(said: Said) -> dict[str, Any]:
        session.undo(said.rater)
        return next_task(said)

    async def clip(request: Request) -> Response:
        path = media.get(session.clip(request.path_params["token"]) or "")
        if path is None or not path.is_file():
            raise HTTPException(404, "no such clip")
        kind = mimetypes.guess_type(path.name)[0] or ""
        return FileResponse(path, media_type=kind if kind.startswith(("video/", "audio/")) else "video/mp4")

    async def study(request: Request) -> Response:
        shown = msgspec.to_builtins(session.study)
        return JSONResponse({key: value for key, value in shown.items() if key != "raters"})

    return Starlette(
        routes=[
            Route("/", lambda request: FileResponse(STATIC / "rate.html")),
            Route("/api/study", study),
            Route("/api/begin", post(begin), methods=["POST"]),
            Route("/api/consent", post(consent), methods=["POST"]),
            Route("/api/next", post(next_task), methods=["POST"]),
            Route("/api/answer", post(keep), methods=["POST"]),
            Route("/api/undo", post(undo), methods=["POST"]),
            Route("/api/health", lambda request: JSONResponse({"status": "ok"})),
            Route("/media/{token}", clip),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            NotKeptError: _not_kept,
            HTTPException: http_error,
            ThinsliceError: own_error,
            Exception: unexpected_error,
        },
    )


async def _not_kept(request: Request, error: Exception) -> Response:
    """Answer in a way that has the page send it again."""
    return JSONResponse({"error": str(error)}, 503)


async def _said(request: Request) -> Said:
    """Read what the page says: JSON of bounded size."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refusal(400, "send JSON")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(413, "too long an answer")
    try:
        said = msgspec.convert(json.loads(body), Said)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise Refusal(400, f"not an answer of this page ({first_line(error)[:200]})") from None
    if len(said.answers) > 200 or len(said.rater) > 100 or len(said.task) > 1000:
        raise Refusal(400, "not an answer of this page")
    return said
