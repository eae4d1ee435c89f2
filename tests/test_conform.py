"""`thinslice conform`: a broken bound fails, what is missing is named, the authors' program is called as it must be."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("pytorch_metric_learning")
pytest.importorskip("sklearn")

from command_line import run  # noqa: E402
from thinslice.conform import authors  # noqa: E402
from thinslice.conform.comparison import Comparison, Given, Package, compare, largest_difference  # noqa: E402
from thinslice.conform.table import COMPARISONS  # noqa: E402

BELL = """
import torch
class BellLoss:
    def __call__(self, prediction, label):
        return {gamma} * (1 - torch.exp(-(prediction - label) ** 2 / (2 * 9 ** 2))).sum()
"""


def checkout(folder: Path, file: str, text: str) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([0.25, 0.5], [0.25, 0.75], 0.25),
        ([10.0, 30.0], [10.0, 40.0], 0.25),
        ([1.0, 2.0], [[1.0, 2.0]], np.inf),
        ([1.0, np.nan], [1.0, np.nan], np.inf),
        ([1.0, 1.0], [1.0, 1.0], np.inf),  # a network that gives the same everywhere proves nothing
        (3.0, 3.0, 0.0),
    ],
)
def test_the_largest_difference(ours, theirs, expected):
    assert largest_difference(np.array(ours), np.array(theirs)) == expected


def test_an_implementation_that_agrees_passes_and_one_that_does_not_fails(tmp_path):
    file = "DeepPersonality/dpcv/modeling/loss/cr_loss.py"
    call = ("conform", "bell_loss", "--from", checkout(tmp_path, file, BELL.format(gamma=300)))
    code, stdout, _ = run(*call)
    assert code == 0
    assert "equal" in stdout
    checkout(tmp_path, file, BELL.format(gamma=301))
    code, stdout, _ = run(*call)
    assert code == 1
    assert "DIFFERS" in stdout
    checkout(tmp_path, file, "class BellLoss:\n    def __call__(self, a, b):\n        raise KeyError('fc6.weight')\n")
    code, stdout, _ = run(*call)
    assert code == 1
    assert "bell_loss ended in an error: KeyError: 'fc6.weight'" in stdout
    checkout(tmp_path, file, "print('trained')\nraise SystemExit(0)\n")  # a program, not a module
    code, stdout, stderr = run(*call, "--json")
    assert code == 1
    assert json.loads(stdout)[0]["remedy"] == "SystemExit: 0"
    assert "trained" in stderr


def test_what_is_missing_is_named_with_the_line_that_brings_it(monkeypatch):
    code, stdout, _ = run("conform", "sphereface")
    assert code == 1
    assert "git clone https://github.com/clcarwin/sphereface_pytorch DIR/sphereface_pytorch, then --from DIR" in stdout
    absent = Comparison(
        name="absent", what="x", systems=(), theirs=Package("no-such-thing", "MIT", "--no-deps no-such-thing"),
        expected=0.0, most=0.0, run=lambda given: [],
    )  # fmt: skip
    monkeypatch.setattr("thinslice.conform.table.COMPARISONS", {"absent": absent, "metrics": COMPARISONS["metrics"]})
    code, stdout, _ = run("conform", "--json")
    found = {row["comparison"]: row for row in json.loads(stdout)}
    assert code == 0
    assert (found["absent"]["verdict"], found["absent"]["remedy"]) == (
        "not here",
        "pip install --no-deps no-such-thing",
    )
    assert found["metrics"]["verdict"] == "equal"
    assert found["metrics"]["with"].startswith("scikit-learn ")


def test_a_package_that_theirs_needs_is_named_with_the_line_that_brings_it():
    def run_theirs(given):
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision.ops")

    theirs = Package("numpy", "BSD-3-Clause", "numpy")
    outcome = compare(replace(COMPARISONS["metrics"], theirs=theirs, run=run_theirs), Given())
    assert outcome.verdict == "not here"
    assert outcome.remedy.startswith("pip install torchvision, in a version that fits")
    assert outcome.remedy.endswith(f"numpy {np.__version__} needs it")


def test_an_unknown_comparison_is_a_wrong_call():
    code, _, stderr = run("conform", "sphere")
    assert code == 2
    assert "no comparison 'sphere'; there are resnet_torchvision" in stderr


def test_the_lstm_of_torch7_is_pytorchs():
    outcome = compare(COMPARISONS["lstm"], Given())
    assert outcome.verdict == "equal"
    assert outcome.difference > 0  # two programs, not one twice


def test_scores_of_the_drawn_network_are_not_at_an_end(tmp_path):
    authors.save_as_chainer(tmp_path / "model")
    network = authors.read_chainer(tmp_path / "model")
    with torch.no_grad():
        frames = torch.randint(0, 256, (1, 2, 64, 64, 3), dtype=torch.uint8)
        scores = network(torch.randn(1, 8000) / 5, frames)
    assert scores.min() > 0.02
    assert scores.max() < 0.98
    assert scores.std() > 0.05


def test_the_authors_program_is_called_with_the_file_that_both_load(tmp_path, monkeypatch):
    """Its place is taken by the tests' own network in NumPy, under Chainer's names."""
    monkeypatch.setattr(authors, "NUM_CLIPS", 1)
    monkeypatch.setattr(authors, "NUM_FRAMES", 1)
    monkeypatch.setattr(authors, "NUM_SAMPLES", 4000)
    program = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
from chainer_files import run_chainer
class ResNet18:
    def __call__(self, x):
        return run_chainer(self.arrays, x[0][0, 0, 0], x[1].transpose(0, 2, 3, 1))
"""
    chainer = """
import numpy
__version__ = "1.24.0"
class cuda: pass
class serializers:
    @staticmethod
    def load_npz(path, network):
        network.arrays = dict(numpy.load(path))
"""
    checkout(tmp_path, "deep_impression/audiovisual_stream.py", program)
    outcome = compare(COMPARISONS["deep_impression"], Given(tmp_path, sys.executable))
    assert outcome.verdict == "DIFFERS"  # no Chainer
    assert "No module named 'chainer'" in outcome.remedy
    checkout(tmp_path, "deep_impression/chainer.py", chainer)
    outcome = compare(COMPARISONS["deep_impression"], Given(tmp_path, sys.executable))
    assert (outcome.verdict, outcome.remedy) == ("equal", "")
    assert 0 < outcome.difference < 1e-6
    outcome = compare(COMPARISONS["deep_impression"], Given(tmp_path, str(tmp_path / "python2.7")))
    assert "give a Python that has Chainer 1" in outcome.remedy
