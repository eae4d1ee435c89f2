"""CR-Net from media to a prediction, trees included, as a user calls it; predict without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")
pytest.importorskip("onnxscript")

from thinslice.assets import find_asset
from thinslice.cli.export import export
from thinslice.cli.train import train
from thinslice.data.planted.clip import Format, write_clip
from thinslice.errors import AssetError
from thinslice.traits import TARGETS


def test_from_media_to_prediction_without_torch(tmp_path: Path) -> None:
    try:
        find_asset("face_landmarker")
    except AssetError as error:
        pytest.skip(str(error))
    rows = ["clip,path,split,speaker," + ",".join(TARGETS)]
    for i, split in enumerate(("train", "train", "validation", "test")):
        write_clip(tmp_path / f"{i}.mp4", np.full(5, i - 1.5), [i], [i], Format(duration_s=2.0))
        rows.append(f"{i}.mp4,{i}.mp4,{split},s{i}," + ",".join(str(round(0.3 + 0.1 * i, 1)) for _ in TARGETS))
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    command = ["cr_net", "--variant", "small_face", "--data", str(tmp_path / "m.csv"), "--out", str(run)]
    result = CliRunner().invoke(train, [*command, "--device", "cpu", "--max-steps", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(export, [str(run), "--out", str(bundle)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    program = (
        "import sys, json; from thinslice.infer.predictor import Predictor; "
        f"p = Predictor({str(bundle)!r}).predict({str(tmp_path / '3.mp4')!r}, explain=False); "
        "assert not {'torch', 'sklearn', 'lightning'} & set(sys.modules); print(json.dumps(p.to_dict()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    prediction = json.loads(done.stdout)
    assert prediction["used"] == ["face"]
    theirs = np.loadtxt(run / "predictions_test.csv", delimiter=",", skiprows=1, usecols=range(1, 7))
    scores = [prediction["traits"][target]["score"] for target in TARGETS]
    # Two training clips: a tree says one label or the other. Pictures were kept as JPEG files for training.
    np.testing.assert_allclose(scores, theirs, atol=0.02)
