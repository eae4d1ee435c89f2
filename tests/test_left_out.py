"""Clips that a run leaves out count with the training mean, beside the scores without them."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from thinslice.train.data import ArrayReader, ClipData
from thinslice.train.inputs import LeftOut
from thinslice.train.left_out import ALL_CLIPS, count_left_out
from thinslice.traits import TRAITS


def test_all_clips_by_hand(tmp_path: Path) -> None:
    lines = ["clip,path,split,speaker," + ",".join(TRAITS)]
    lines += [f"a,a.mp4,test,s,{','.join(['0.4'] * 5)}", f"b,b.mp4,test,s,{','.join(['0.9'] * 5)}"]
    lines += ["c,c.mp4,test,s,,,,,", f"d,d.mp4,train,t,{','.join(['0.1'] * 5)}"]
    manifest = tmp_path / "clips.csv"
    manifest.write_text("\n".join(lines) + "\n")
    clips = ClipData(("a",), np.full((1, 5), 0.4), TRAITS, ArrayReader({}))
    predicted, training = np.full((1, 5), 0.5), np.array([[0.6] * 5, [0.8] * 5])
    gone = [LeftOut("b", "test", "no face"), LeftOut("c", "test", "no label"), LeftOut("d", "train", "no face")]
    found = count_left_out({"accuracy": {"average": 0.9}}, manifest, gone, "test", clips, predicted, training)
    assert found["accuracy"] == {"average": 0.9, ALL_CLIPS: pytest.approx(1 - (0.1 + 0.2) / 2)}
    # Squared errors 0.01 and 0.04, about the labels' mean 0.65 twice 0.0625.
    assert found["r2"][ALL_CLIPS] == pytest.approx(1 - 0.05 / 0.125)
    same = count_left_out({"accuracy": {"average": 0.9}}, manifest, gone[1:], "test", clips, predicted, training)
    assert same == {"accuracy": {"average": 0.9}}
