"""The service described for programs (OpenAPI 3.1) and for people (one page, no script)."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinslice import __version__
from thinslice.traits import POLES, TARGETS

if TYPE_CHECKING:
    from jinja2 import Template

_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
_TRAIT = {
    "type": "object",
    "required": ["score", "low", "high", "percentile"],
    "properties": {
        "score": {**_NUMBER, "minimum": 0, "maximum": 1},
        "low": {**_NUMBER, "description": "lower end of the 80% prediction interval"},
        "high": {**_NUMBER, "description": "upper end of the 80% prediction interval"},
        "percentile": {**_NUMBER, "description": "share of the training clips' labels below the score, in percent"},
    },
}
_PREDICTION = {
    "type": "object",
    "required": ["clip", "traits", "used", "transcript", "warnings", "seconds", "bundle"],
    "properties": {
        "clip": {**_TEXT, "description": "the file's name, as sent"},
        "traits": {
            "type": "object",
            "properties": {
                name: {
                    "allOf": [{"$ref": "#/components/schemas/Trait"}],
                    "description": f"0 is {POLES[name][0]}, 1 is {POLES[name][1]}",
                }
                for name in TARGETS
            },
        },
        "used": {"type": "array", "items": _TEXT, "description": "what the model had of the clip"},
        "transcript": {"type": ["string", "null"]},
        "warnings": {"type": "array", "items": _TEXT},
        "seconds": {"type": "object", "additionalProperties": _NUMBER},
        "bundle": {"type": "object", "properties": {"name": _TEXT, "version": _TEXT}},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _TEXT}}

REFUSALS = {
    "400": "the form is malformed, holds no clip, or names an unknown bundle",
    "403": "the request comes from another web site",
    "408": "the sender fell silent",
    "413": "the clip or its transcript is too large",
    "421": "the server does not answer to that name",
    "422": "the clip cannot be scored; the message says why",
    "429": "too many clips are waiting, or the disk is full; try again later",
}
"""What the statuses of `POST /api/predict` mean."""


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def openapi_document(max_mb: int) -> dict[str, Any]:
    """Return the description of the service.

    Args:
        max_mb: largest clip that this server takes, MB.
    """
    form = {
        "type": "object",
        "required": ["clip"],
        "properties": {
            "clip": {**_TEXT, "format": "binary", "description": f"a video or sound file, at most {max_mb} MB"},
            "transcript": {**_TEXT, "description": "the words spoken: text, or a .txt, .srt or .vtt file"},
            "bundle": {**_TEXT, "description": "a model that is installed on the server (GET /api/bundles)"},
        },
    }
    refusals = {status: {"description": text, "content": _content("Error")} for status, text in REFUSALS.items()}
    predict = {
        "operationId": "predict",
        "summary": "Score one clip",
        "description": "The upload is deleted before the answer is sent. "
        "With `Accept: application/x-ndjson` the answer comes line by line: place in the line, stages, result.",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {"200": {"description": "the scores", "content": _content("Prediction")}, **refusals},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "thinslice",
            "version": __version__,
            "description": "How strangers would judge the personality of the person in a clip. It is not a personality "
            "test, and not for decisions about people.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/api/predict": {"post": predict},
            "/api/health": {"get": _getter("health", "Whether the server is up, and how many clips wait")},
            "/api/bundles": {"get": _getter("bundles", "The models on offer, and the server's limits")},
        },
        "components": {"schemas": {"Trait": _TRAIT, "Prediction": _PREDICTION, "Error": _ERROR}},
    }


def _getter(name: str, summary: str) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer}}


def docs_page(max_mb: int, base_url: str) -> str:
    """Return the page that shows the service to people.

    Args:
        max_mb: largest clip that this server takes, MB.
        base_url: address of the server, for the examples.
    """
    document = openapi_document(max_mb)
    schemas = {name: json.dumps(schema, indent=2) for name, schema in document["components"]["schemas"].items()}
    return _template().render(api=document, schemas=schemas, base_url=base_url.rstrip("/"))


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).with_name("static")
    loader = FileSystemLoader(folder)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("docs.html")
