"""Names that say nothing: of clips, so that a rater learns nothing from them, and of tasks, which survive a restart."""

import hashlib
import hmac
import secrets
from pathlib import Path

from thinslice.errors import UsageError

FILE = "secret.key"


def load_secret(folder: Path) -> bytes:
    """Return the study's secret, made on first use.

    Raises:
        UsageError: it cannot be written or read.
    """
    path = folder / FILE
    try:
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read or made ({error.strerror}); choose another --out") from None


def clip_token(secret: bytes, clip: str) -> str:
    """Return the name under which a clip is served: the same after a restart, and nothing to guess."""
    return _mac(secret, b"clip", clip.encode("utf-8", "surrogateescape"))


def sign(secret: bytes, rater: str, parts: tuple[str, ...]) -> str:
    """Return a task as text that only the server can have made, for one rater."""
    body = "~".join(parts)
    return f"{body}~{_mac(secret, rater.encode(), body.encode())}"


def verify(secret: bytes, rater: str, task: str) -> tuple[str, ...] | None:
    """Return the parts of a task that `sign` made for this rater; None for any other text."""
    body, _, mac = task.rpartition("~")
    if not hmac.compare_digest(mac.encode(), _mac(secret, rater.encode(), body.encode()).encode()):
        return None
    return tuple(body.split("~"))


def _mac(secret: bytes, *parts: bytes) -> str:
    message = b"\0".join(parts)
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:24]
