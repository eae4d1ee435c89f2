"""Where tests find data that is not in the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("THINSLICE_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("THINSLICE_WEIGHTS", DATA.parent / "weights"))


def _present(path: Path, what: str) -> Path:
    if not path.exists():
        pytest.skip(f"{what} not on this machine (set THINSLICE_DATA)")
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the First Impressions V2 training split's labels, transcripts and voice profiles."""
    return _present(DATA / "first_impressions_v2", "First Impressions V2 is")


@pytest.fixture(scope="session")
def real_clips(real_data: Path) -> list[Path]:
    """Real First Impressions clips, sorted by name."""
    return sorted(_present(real_data / "clips", "First Impressions clips are").glob("*.mp4"))


@pytest.fixture(scope="session")
def hard_videos() -> Path:
    """Folder of short public videos for hard cases."""
    return _present(DATA / "videos", "the hard-case videos are")


@pytest.fixture(scope="session")
def bimodal_weights() -> Path:
    """Folder of the two trained bimodal networks in Torch7 form."""
    _present(WEIGHTS / "bimodal_lstm.net", "the bimodal weights are")
    return WEIGHTS
