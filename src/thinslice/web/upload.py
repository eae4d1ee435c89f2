"""A multipart form into a folder, as it arrives: no more of it is ever held than was allowed."""

import asyncio
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from thinslice.web.refusal import Refusal

MAX_WORDS_BYTES = 200_000
"""Longest transcript, bytes of UTF-8: about a chapter of a book."""
MAX_FIELD_BYTES = 500
MAX_PARTS = 8
IDLE_S = 30.0
"""How long a sender may be silent, seconds."""
FORM_BYTES = MAX_WORDS_BYTES + 16_384
"""What a form may hold beside its clip."""
KEEP_FREE_BYTES = 256 << 20
"""Room that uploads leave on the disk."""

_WORDS_SUFFIXES = (".txt", ".srt", ".vtt")


@dataclass
class Upload:
    """A form as it was sent.

    Attributes:
        clip: the media file, None where none came.
        name: what the sender called it, safe to show.
        words: a file of the transcript, None where none came.
        bundle: the model asked for, "" for the server's own.
    """

    clip: Path | None = None
    name: str = ""
    words: Path | None = None
    bundle: str = ""


async def receive_upload(request: Request, folder: Path, max_mb: int) -> Upload:
    """Write the parts of a multipart form into `folder`.

    Args:
        request: a POST whose body was not read yet.
        folder: an empty folder for this request alone.
        max_mb: largest clip, MB (2**20 bytes).

    Raises:
        Refusal: 400 where it is no such form, 413 where it is too large, 408 where its sender fell silent, 429 where
            the disk is full.
        ClientDisconnect: the sender went away.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise Refusal(400, "send a multipart form with the media file in the field clip")
    limit = (max_mb << 20) + FORM_BYTES
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(max_mb)
    if shutil.disk_usage(folder).free < KEEP_FREE_BYTES + min(limit, int(length) if length.isdigit() else limit):
        raise Refusal(429, "the server has no room on its disk; try again later", 60)

    form = _Form(folder, max_mb)
    received = 0
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in _chunks(request):
            received += len(chunk)
            if received > limit:
                raise _too_large(max_mb)
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        raise Refusal(400, "the form is malformed; send it as multipart/form-data") from None
    except OSError as error:
        raise Refusal(429, f"the server could not keep the upload ({error.strerror}); try again later", 60) from None
    finally:
        form.close()
    if not form.ended:
        raise Refusal(400, "the form breaks off; send it again")
    return form.upload


async def _chunks(request: Request):  # type: ignore[no-untyped-def]
    stream = request.stream().__aiter__()
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), IDLE_S)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, f"nothing arrived for {IDLE_S:.0f} s; send it again") from None


@dataclass
class _Form:
    """What the parser's callbacks fill; they run in the order of the bytes."""

    folder: Path
    max_mb: int
    upload: Upload = field(default_factory=Upload)
    ended: bool = False
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _header: list[bytes] = field(default_factory=lambda: [b"", b""])
    _file: BinaryIO | None = None
    _text: bytearray = field(default_factory=bytearray)
    _field: str = ""
    _names: set[str] = field(default_factory=set)
    _size: int = 0
    _limit: int = 0

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": lambda data, start, end: self._add(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_part(self) -> None:
        self._headers, self._header = {}, [b"", b""]

    def _add_header(self, part: int, data: bytes) -> None:
        self._header[part] += data

    def _end_header(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._size, self._text = 0, bytearray()
        if self._field == "clip" and self.upload.clip is not None:
            raise Refusal(400, "one clip a request; send several requests")
        if self._field in self._names:
            raise Refusal(400, f"the field {self._field[:40]!r} is sent twice; send it once")
        self._names.add(self._field)
        if len(self._names) > MAX_PARTS:
            raise Refusal(400, f"over {MAX_PARTS} fields; send clip, transcript and bundle")
        if self._field == "clip":
            self.upload.name = shown_name(file_name)
            self.upload.clip = self.folder / f"clip{safe_suffix(file_name)}"
            self._file, self._limit = self.upload.clip.open("xb"), self.max_mb << 20
        elif self._field == "transcript":
            suffix = safe_suffix(file_name)
            self._text_path = self.folder / f"words{suffix if suffix in _WORDS_SUFFIXES else '.txt'}"
            self._limit = MAX_WORDS_BYTES
        else:
            self._limit = MAX_FIELD_BYTES

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise _too_large(self.max_mb) if self._file else _too_long(self._field)
        if self._file is not None:
            self._file.write(data)
        else:
            self._text += data

    def _end_part(self) -> None:
        self.close()
        if self._field == "transcript" and self._text.strip():
            self._text_path.write_bytes(self._text)
            self.upload.words = self._text_path
        elif self._field == "bundle":
            self.upload.bundle = self._text.decode("utf-8", "replace").strip()

    def _end(self) -> None:
        self.ended = True


def _too_large(max_mb: int) -> Refusal:
    return Refusal(413, f"larger than {max_mb} MB, the most this server takes; cut or compress the clip")


def _too_long(field_name: str) -> Refusal:
    what = "the transcript" if field_name == "transcript" else f"the field {field_name[:40]!r}"
    limit = MAX_WORDS_BYTES if field_name == "transcript" else MAX_FIELD_BYTES
    return Refusal(413, f"{what} is longer than {limit:,} bytes; send the words of this clip only")


def shown_name(file_name: str) -> str:
    """Return the last part of a file's name as a browser or a program sends it, safe to show; "clip" if empty."""
    from thinslice.report.wording import clip_name

    name = PurePosixPath(PureWindowsPath(file_name).name).name
    return clip_name(" ".join(name.split())) or "clip"


def safe_suffix(file_name: str) -> str:
    """Return the ending of a file's name, as far as it is harmless: a dot and up to eight letters or digits."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", file_name.strip())
    return found.group().lower() if found else ""


__all__ = ["MAX_WORDS_BYTES", "ClientDisconnect", "Upload", "receive_upload", "safe_suffix", "shown_name"]
