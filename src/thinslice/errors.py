"""What a user can get wrong. Every error says, in one line, which file and what to do."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: " ", 10: r"\n", 13: r"\r"}


class ThinsliceError(Exception):
    """Base of all errors that are the input's fault, not the program's; its text is one line for the user."""

    def __str__(self) -> str:
        return one_line(_without_traceback(super().__str__()))


def _without_traceback(text: str) -> str:
    """Return an error's own line: PyTorch puts the traceback before it where a process that reads ahead raised it."""
    lines = text.rstrip().splitlines() or [""]
    if lines[0].startswith("Caught ") and " in DataLoader worker process" in lines[0]:
        return lines[-1].partition(": ")[2]
    return text


def one_line(text: str) -> str:
    r"""Return a text as one line without orders to a terminal: a name's line break becomes ``\n``, ESC ``\x1b``."""
    return printable(text).translate(_CONTROLS)


def first_line(error: object) -> str:
    """Return the first line of what an error says, "" where it says nothing."""
    return (str(error).splitlines() or [""])[0]


def reason_of(error: object) -> str:
    """Return the first line of what an error says, or of which kind it is where it says nothing."""
    line = first_line(str(error).strip()) or type(error).__name__
    # PyTorch goes on to advise loading the file without its safeguard.
    return "not a file of tensors alone" if line.startswith("Weights only load failed") else line


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, "1 clip" or "1,200 clips".

    Args:
        number: how many.
        one: what follows 1, such as "clip" or "clip is".
        many: what follows every other number; "" for `one` and an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def printable(text: str) -> str:
    r"""Return a text that any file and terminal takes: bytes of a file's name that are no UTF-8 become ``\xe9``."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as Windows allows in names
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


class MediaError(ThinsliceError):
    """A media file that cannot be read, or lacks what was asked of it."""


class ManifestError(ThinsliceError):
    """A manifest, prediction file or label file that does not say what it must."""


class BundleError(ThinsliceError):
    """A bundle that is missing, damaged, or made for another version."""


class AssetError(ThinsliceError):
    """A pretrained file that is neither on this machine nor can be downloaded, or whose checksum is wrong."""


class MissingExtraError(ThinsliceError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part of thinslice: pip install 'thinslice[{extra}]'")
        self._arguments = (what, extra)

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), self._arguments  # crosses from a worker process to its parent


class UsageError(ThinsliceError):
    """Arguments that contradict each other or are out of range."""


class OutputError(UsageError):
    """A place that cannot be written: no space, no permission, a folder where a file should be."""
