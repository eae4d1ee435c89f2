"""What a user can get wrong. Every error says, in one line, which file and what to do."""


class ThinsliceError(Exception):
    """Base of all errors that are the input's fault, not the program's; its text is one line for the user."""


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


class UsageError(ThinsliceError):
    """Arguments that contradict each other or are out of range."""
