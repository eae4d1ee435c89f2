"""What all tests share: where research data lies, what is slow, and which skips a green run may contain."""

import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

import thinslice  # noqa: F401  Before a test imports ONNX Runtime, which would report its use.

# A shell that starts the tests in the background has them ignore Ctrl-C, and so the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is no reason to fail: properties have no deadline.
settings.register_profile("thinslice", deadline=None)
settings.load_profile("thinslice")

DATA_FIXTURES = {
    "data_dir",
    "real_data",
    "real_clips",
    "hard_videos",
    "real_portraits",
    "bimodal_weights",
    "real_votes",
    "papers",
    "published",
}

NO_DATA = "needs the research data: pytest --data=DIR"
SLOW = "takes over 20 s: pytest --slow"
PERMITTED_SKIPS = {
    "research data": re.compile(r"needs the research data|not in the research data"),
    "slow tests": re.compile(r"^takes over 20 s"),
    "pretrained files": re.compile(r"^[\w.-]+ is not installed$|not on this machine"),
    "reference programs": re.compile(r"pyAudioAnalysis|mediapipe|google\.protobuf|librosa|dlib|chromium"),
    "the operating system": re.compile(r"^needs (named pipes|Linux|symbolic links|strace)"),
    "optional parts": re.compile(r"^the extra (ray|web|words|asr|hog|egemaps|groups) is not installed"),
}
"""What a run may leave out -> the reasons that say so. Any other skip fails the run: add it here, or run the test."""
CORE_SKIPS = {"the extras": re.compile(r"could not import '|^the extra \w+ is not installed")}
"""What a run with `--core`, of an installation without PyTorch, may leave out besides."""

_skipped: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data", type=Path, metavar="DIR", help="folder of the research data; runs the tests that need it"
    )
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--core", action="store_true", help="the extras are not installed: permit the skips that follow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if DATA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("data")
        if item.get_closest_marker("data") and not config.getoption("data"):
            item.add_marker(pytest.mark.skip(reason=NO_DATA))
        if item.get_closest_marker("slow") and not config.getoption("slow"):
            item.add_marker(pytest.mark.skip(reason=SLOW))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1


def _sort_skips(core: bool) -> tuple[Counter[str], list[str]]:
    """Return how many skips each permitted kind has, and the reasons that are not permitted."""
    kinds, unknown = PERMITTED_SKIPS | (CORE_SKIPS if core else {}), []
    counts: Counter[str] = Counter()
    for reason, count in _skipped.items():
        kind = next((kind for kind, pattern in kinds.items() if pattern.search(reason)), None)
        if kind is None:
            unknown.append(reason)
        else:
            counts[kind] += count
    return counts, unknown


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return  # a worker of pytest-xdist: its controller sees all reports
    if _sort_skips(session.config.getoption("core"))[1] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts, unknown = _sort_skips(config.getoption("core"))
    if counts:
        terminalreporter.section("not tested here")
        for kind, count in sorted(counts.items()):
            terminalreporter.line(f"{count:5} {kind}")
    for reason in unknown:
        terminalreporter.line(f"a skip that is not permitted (tests/conftest.py says which are): {reason}", red=True)


def _present(path: Path, what: str) -> Path:
    if not path.exists():
        pytest.skip(f"{what} not in the research data")
    return path


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path:
    """Folder of the research data, as `pytest --data=DIR` names it; without the option, the test is skipped."""
    given = request.config.getoption("data")
    if given is None:
        pytest.skip(NO_DATA)
    return given.resolve()


@pytest.fixture(scope="session")
def real_data(data_dir: Path) -> Path:
    """Folder of the First Impressions V2 training split's labels, transcripts and voice profiles."""
    return _present(data_dir / "first_impressions_v2", "First Impressions V2 is")


@pytest.fixture(scope="session")
def real_clips(real_data: Path) -> list[Path]:
    """Real First Impressions clips, sorted by name."""
    return sorted(_present(real_data / "clips", "First Impressions clips are").glob("*.mp4"))


@pytest.fixture(scope="session")
def real_portraits(data_dir: Path) -> Path:
    """Archive of portraits of half of the training clips, as ``train/CLIP.mp4/00081.jpg``."""
    return _present(data_dir / "portraits" / "train_1.zip", "the portraits are")


@pytest.fixture(scope="session")
def real_votes(data_dir: Path) -> Path:
    """The votes behind the training labels."""
    return _present(data_dir / "votes" / "votes_train.csv.gz", "the votes are")


@pytest.fixture(scope="session")
def hard_videos(data_dir: Path) -> Path:
    """Folder of short public videos for hard cases."""
    return _present(data_dir / "videos", "the hard-case videos are")


@pytest.fixture(scope="session")
def bimodal_weights(data_dir: Path) -> Path:
    """Folder of the two trained bimodal networks in Torch7 form, beside the data."""
    weights = data_dir.parent / "weights"
    _present(weights / "bimodal_lstm.net", "the bimodal weights are")
    return weights


@pytest.fixture(scope="session")
def published(data_dir: Path) -> Path:
    """Folder of the papers' figures as a table, beside the data."""
    return _present(data_dir.parent / "published", "the published figures are")


@pytest.fixture(scope="session")
def papers(data_dir: Path) -> Path:
    """Folder of the published documents as text, beside the data."""
    return _present(data_dir.parent / "papers", "the papers are")
