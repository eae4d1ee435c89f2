"""What a page gets of a scored clip: its scores and words at once, its report and tables as files."""

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from thinslice.targets import poles_of
from thinslice.types import predictions_csv
from thinslice.web.workers import ScoredUpload

MAX_TOKENS = 100
REPORT_POLICY = (
    "sandbox allow-same-origin allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""A report brings its own style and runs no script; only our page may frame it."""


def for_page(scored: ScoredUpload, token: str) -> dict[str, Any]:
    """Return a result as the page draws it.

    Args:
        scored: the result.
        token: under which its files are kept.
    """
    prediction, explanation = scored.prediction, scored.prediction.explanation
    words = explanation.words if explanation else ()
    return {
        "prediction": prediction.to_dict(),
        "poles": {name: poles_of(name) for name in prediction.traits},
        "words": [
            {"text": word.text, "start": word.start, "shares": dict(word.shares)}
            for word in words
        ],
        "token": token,
    }  # fmt: skip


async def report(request: Request) -> Response:
    """The report of one or several results."""
    kept = _kept(request)
    page = await run_in_threadpool(_render, kept)
    headers = {"content-security-policy": REPORT_POLICY, "x-frame-options": "SAMEORIGIN"}
    return Response(page, media_type="text/html", headers={**headers, **_download(request, "report.html")})


async def table(request: Request) -> Response:
    """The predictions as a CSV file, as `predict --out` writes it."""
    text = predictions_csv([scored.prediction for scored in _kept(request)])
    return Response(text, media_type="text/csv", headers=_download(request, "predictions.csv"))


async def document(request: Request) -> Response:
    """The predictions as `predict --json` prints them."""
    entries = [scored.prediction.to_dict() for scored in _kept(request)]
    text = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False)
    return Response(text, media_type="application/json", headers=_download(request, "predictions.json"))


async def forget(request: Request) -> Response:
    """Drop results before their time."""
    request.app.state.shelf.drop(_tokens(request))
    return Response(status_code=204)


def _kept(request: Request) -> list[ScoredUpload]:
    kept: list[ScoredUpload] = request.app.state.shelf.get(_tokens(request))
    return kept


def _tokens(request: Request) -> list[str]:
    tokens: list[str] = request.path_params["tokens"].split(",")[:MAX_TOKENS]
    return tokens


def _download(request: Request, name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'} if "download" in request.query_params else {}


def _render(kept: list[ScoredUpload]) -> str:
    from thinslice.report.html import render_report

    cards = {name: card for scored in kept for name, card in scored.cards.items()}
    return render_report([scored.prediction for scored in kept], [], cards)
