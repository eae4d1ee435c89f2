"""Golden curves: every system still learns, step by step, as it did when its curve was stored."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import golden_curves
from thinslice.systems import RECIPES

CURVES = golden_curves.load_curves()

SPREAD = 200
"""How much further than on the stored curve's machine rounding may lead: another processor sums in other orders, and
cr_net's second stage, which is chaotic in its first steps, then lay up to 80 times as far."""


def test_every_system_has_a_curve() -> None:
    assert {name.split()[0] for name in CURVES} == set(RECIPES)
    assert set(CURVES) == set(golden_curves.SMALLEST)


@pytest.mark.parametrize("name", list(CURVES))
def test_first_losses_are_the_stored_ones(name: str) -> None:
    """Sums of float32 in another order change the last digits, which training then spreads: as far as `drift` says."""
    now, stored, drift = golden_curves.measure_curve(name), CURVES[name]["losses"], CURVES[name]["drift"]
    assert list(now) == list(stored)
    assert sum(map(len, stored.values())) >= golden_curves.NUM_LOSSES
    for update, losses in stored.items():
        assert len(now[update]) == len(losses)
        difference = np.abs(np.subtract(now[update], losses)) / np.mean(np.abs(losses))
        allowed = 1e-5 + SPREAD * np.array(drift[update])
        assert (difference < allowed).all(), f"{update}: {difference / allowed} times what rounding may do"


def test_rounding_hides_no_change() -> None:
    """Most of every curve is compared to a hundredth of its mean or better."""
    for name, curve in CURVES.items():
        drift = np.concatenate([*curve["drift"].values()])
        assert np.mean(SPREAD * drift < 0.01) > 0.5, name


def test_curves_are_not_written_without_a_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = golden_curves.STORED.read_bytes()
    for arguments in ([], ["--reason", " "]):
        monkeypatch.setattr(sys, "argv", ["golden_curves.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            golden_curves.main()
        assert "reason" in capsys.readouterr().err + str(stopped.value)
    assert golden_curves.STORED.read_bytes() == before
    assert all(json.loads(before)["reasons"])
