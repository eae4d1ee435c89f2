"""ZIP archives of a corpus, also archives within archives: what is in them, read or extracted without surprises.

Encryption is ZIP's classic one, which the standard library can decrypt. Nothing is extracted unless asked for;
extracted files land in one folder under their own names, whatever path an archive claims for them.
"""

import io
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from thinslice.errors import ManifestError

MAX_DEPTH = 3
"""How deep archives may lie within archives; the official ones have two levels."""

MAX_RATIO = 200
_HARMLESS_BYTES = 100 * 2**20
"""An archive whose files unpack to more than this, and to over `MAX_RATIO` times its size, is refused; media do not
shrink, and tables of labels by a tenth of that."""

_LOCAL_HEADER = struct.Struct("<26x2H")  # APPNOTE.TXT, section 4.3.7: the lengths of name and extra field
_MEMORY_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ArchiveMember:
    """A file in an archive.

    Attributes:
        archive: the archive on disk.
        chain: names from the outermost member to this one; all but the last are archives themselves.
        size: length when unpacked, bytes, as the archive says.
        encrypted: whether it, or an archive around it, needs a password.
    """

    archive: Path
    chain: tuple[str, ...]
    size: int
    encrypted: bool

    @property
    def name(self) -> str:
        """Name of the file without any folder."""
        return base_name(self.chain[-1])


def base_name(name: str) -> str:
    """Return a member's name without folders, whichever slash they are written with."""
    return PurePosixPath(name.replace("\\", "/")).name


def list_members(archive: Path, password: str | None, problems: list[str], shown: str = "") -> list[ArchiveMember]:
    """List the files of an archive and of the archives in it.

    Args:
        archive: the ZIP file.
        password: for archives within encrypted archives.
        problems: receives one line for each archive that could not be looked into; the others are listed.
        shown: the archive's name in these lines.

    Returns:
        Members in the order of the archive; folders, links and operating systems' hidden files left out.
    """
    members: list[ArchiveMember] = []
    _collect(archive, (), False, password, problems, shown or str(archive), members)
    return members


def read_member(member: ArchiveMember, password: str | None, max_bytes: int, shown: str = "") -> bytes:
    """Return the content of a file in an archive.

    Raises:
        ManifestError: password missing or wrong, damaged archive, more than `max_bytes`.
    """
    name = shown or "/".join((str(member.archive), *member.chain))
    with (
        _clear_errors(name),
        _opened_zip(member.archive, member.chain[:-1], password) as archive,
        archive.open(member.chain[-1], pwd=_bytes(password)) as file,
    ):
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ManifestError(f"{name}: more than {max_bytes:,} bytes; it cannot be a label file")
    return data


def extract_members(
    members: Sequence[ArchiveMember],
    folder: Path,
    password: str | None,
    problems: list[str],
    on_done: Callable[[ArchiveMember], None] = lambda member: None,
) -> dict[ArchiveMember, Path]:
    """Write files of archives into one folder, each whole or not at all; what is already there is not written again.

    Args:
        members: the files wanted; no two may have the same name.
        folder: made where it does not exist.
        password: for encrypted ones.
        problems: receives one line for each file that could not be extracted; the others are.
        on_done: called after each file.

    Returns:
        ArchiveMember -> extracted file.

    Raises:
        ManifestError: not enough space, or the folder cannot be made.
    """
    targets = {}
    for member in members:
        try:
            targets[member] = folder / _safe_name(member)
        except ManifestError as error:
            problems.append(str(error))
    todo = {member: path for member, path in targets.items() if not _has_size(path, member.size)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be made ({error.strerror})") from None
    needed = sum(member.size for member in todo)
    if needed > free:
        raise ManifestError(f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free")
    groups: dict[tuple[Path, tuple[str, ...]], list[ArchiveMember]] = {}
    for member in todo:
        groups.setdefault((member.archive, member.chain[:-1]), []).append(member)
    for (path, chain), group in groups.items():
        shown = "/".join((str(path), *chain))
        try:
            with _clear_errors(shown), _opened_zip(path, chain, password) as archive:
                for member in group:
                    try:
                        with _clear_errors("/".join((str(path), *member.chain))):
                            _extract(archive, member, targets[member], password)
                    except _PasswordError:
                        raise  # the same holds for the others in this archive: one line says it
                    except ManifestError as error:
                        problems.append(str(error))
                    on_done(member)
        except ManifestError as error:
            problems.append(str(error))
    return {member: path for member, path in targets.items() if _has_size(path, member.size)}


class _PasswordError(ManifestError):
    """A password is missing or wrong."""


def _collect(
    path: Path,
    chain: tuple[str, ...],
    encrypted: bool,
    password: str | None,
    problems: list[str],
    shown: str,
    members: list[ArchiveMember],
) -> None:
    try:
        with _clear_errors(shown), _opened_zip(path, chain, password) as archive:
            infos = [info for info in archive.infolist() if _is_wanted(info)]
    except ManifestError as error:
        problems.append(str(error))
        return
    for info in infos:
        locked = encrypted or bool(info.flag_bits & 0x1)
        inner = (*chain, info.filename)
        if not info.filename.lower().endswith(".zip"):
            members.append(ArchiveMember(path, inner, info.file_size, locked))
        elif len(inner) >= MAX_DEPTH:
            problems.append(f"{shown}/{info.filename}: archives nested deeper than {MAX_DEPTH} are not looked into")
        else:
            _collect(path, inner, locked, password, problems, f"{shown}/{info.filename}", members)


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    name = base_name(info.filename)
    hidden = name.startswith(".") or "__MACOSX" in info.filename
    return not info.is_dir() and not hidden and bool(name) and not stat.S_ISLNK(info.external_attr >> 16)


@contextmanager
def _opened_zip(path: Path, chain: tuple[str, ...], password: str | None) -> Iterator[zipfile.ZipFile]:
    """Open an archive on disk, or the one that `chain` leads to inside it."""
    if not chain:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(archive, path.stat().st_size, str(path))
            yield archive
        return
    with _opened_zip(path, chain[:-1], password) as outer:
        info = outer.getinfo(chain[-1])
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 0x1:
            # An archive stored as it is can be read in place; anything else has to be unpacked first to be seekable.
            with zipfile.ZipFile(_Window(outer.fp, info)) as archive:
                _refuse_bomb(archive, info.compress_size, f"{path}/{'/'.join(chain)}")
                yield archive
            return
        if info.file_size > shutil.disk_usage(tempfile.gettempdir()).free:
            raise ManifestError(f"{path}/{'/'.join(chain)}: no space in {tempfile.gettempdir()} to unpack it")
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as unpacked:
            with outer.open(info, pwd=_bytes(password)) as file:
                shutil.copyfileobj(file, unpacked, 2**20)
            unpacked.seek(0)
            with zipfile.ZipFile(unpacked) as archive:
                _refuse_bomb(archive, info.compress_size, f"{path}/{'/'.join(chain)}")
                yield archive


def _refuse_bomb(archive: zipfile.ZipFile, num_bytes: int, shown: str) -> None:
    """Raise ManifestError where the files of an archive of `num_bytes` bytes unpack to absurdly more."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(_HARMLESS_BYTES, MAX_RATIO * num_bytes):
        sizes = f"{num_bytes / 1e6:.1f} MB that unpack to {unpacked / 1e6:,.0f} MB"
        raise ManifestError(f"{shown}: {sizes}, as no corpus does; unpack it yourself if you trust it")


class _Window(io.RawIOBase):
    """A part of a seekable file as a file of its own: the bytes of a member that is stored uncompressed."""

    def __init__(self, file: Any, info: zipfile.ZipInfo) -> None:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise zipfile.BadZipFile("truncated")
        self._file = file
        self._start = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))
        self._size = info.compress_size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._position)
        count = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._start + self._position)
        data: bytes = self._file.read(count)
        self._position += len(data)
        return data


def _extract(archive: zipfile.ZipFile, member: ArchiveMember, target: Path, password: str | None) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with archive.open(member.chain[-1], pwd=_bytes(password)) as source, open(part, "wb") as file:
            shutil.copyfileobj(source, file, 2**20)  # the last read compares the CRC
        os.replace(part, target)
    finally:
        with suppress(OSError):
            part.unlink()


def _safe_name(member: ArchiveMember) -> str:
    """Name of the extracted file: no folder of the archive's choosing, nothing a file system would take amiss."""
    name = member.name
    if name in ("", ".", "..") or any(ord(char) < 32 or char in ':*?"<>|' for char in name):
        raise ManifestError(f"{member.archive}: {member.chain[-1]!a} is not a name for a file; unpack it yourself")
    return name


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _bytes(password: str | None) -> bytes | None:
    return None if password is None else password.encode()


@contextmanager
def _clear_errors(shown: str) -> Iterator[None]:
    """Turn whatever zipfile raises into one line that says what to do."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise ManifestError(f"{shown}: not a ZIP archive, damaged, or the password is wrong ({error})") from None
    except (zlib.error, EOFError, struct.error, LookupError, ValueError, OverflowError) as error:
        raise ManifestError(f"{shown}: damaged; download it again ({error})") from None
    except NotImplementedError as error:
        raise ManifestError(f"{shown}: cannot be unpacked here ({error}); unpack it with 7-Zip") from None
    except RuntimeError as error:  # zipfile's word for passwords
        if "Bad password" in str(error):
            raise _PasswordError(f"{shown}: wrong password") from None
        raise _PasswordError(
            f"{shown}: encrypted, a password is required; give it with --password (it comes with the dataset's terms)"
        ) from None
    except OSError as error:
        raise ManifestError(f"{shown}: cannot be read or written ({error.strerror})") from None
