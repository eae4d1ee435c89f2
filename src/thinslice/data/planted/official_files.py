"""Labels and transcripts as First Impressions V2 has them: pickles as Python 2 wrote them."""

import struct
from collections.abc import Mapping


def annotation_pickle(labels: Mapping[str, Mapping[str, float]]) -> bytes:
    """Return an official annotation file: variable -> clip -> label."""
    variables = b"".join(
        _bytes(name) + _dict({clip: _float(v) for clip, v in of.items()}) for name, of in labels.items()
    )
    return b"\x80\x02}(" + variables + b"u."


def transcription_pickle(transcripts: Mapping[str, str]) -> bytes:
    """Return an official transcription file: clip -> text."""
    return b"\x80\x02" + _dict({clip: _unicode(text) for clip, text in transcripts.items()}) + b"."


def _dict(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(_bytes(key) + value for key, value in items.items()) + b"u"


def _bytes(text: str) -> bytes:
    """A str of Python 2, which is bytes: the instruction U, one byte of length."""
    data = text.encode("latin-1")
    return b"U" + bytes([len(data)]) + data


def _float(value: float) -> bytes:
    return b"G" + struct.pack(">d", value)


def _unicode(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data
