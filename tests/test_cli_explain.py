"""``thinslice explain`` writes shares that sum to the scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import wavfile

from thinslice.cli import cli


def test_shares_in_the_file_sum_to_the_scores(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 8 * 16_000).astype(np.int16)
    wavfile.write(tmp_path / "a.wav", 16_000, samples)
    words = "what a lovely day"
    arguments = ["explain", str(tmp_path / "a.wav"), "--transcript", words, "--out", str(tmp_path / "why")]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    document = json.loads((tmp_path / "why" / "explanation.json").read_text())
    explanation = document["explanation"]
    for target, score in document["traits"].items():
        shares = sum(part[target] for part in explanation["inputs"].values())
        assert explanation["baseline"][target] + shares == pytest.approx(score["score"], abs=1e-6)
    assert [word["text"] for word in explanation["words"]] == words.split()
    assert (tmp_path / "why" / "report.html").stat().st_size > 10_000
