"""The authors' Chainer file: read name by name, refused where it is not theirs, equal to another computation."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("onnx")

from chainer_files import chainer_arrays, run_chainer  # noqa: E402
from thinslice.bundle import load_bundle  # noqa: E402
from thinslice.cli.import_ import import_  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.infer.onnx_model import OnnxModel  # noqa: E402
from thinslice.systems.deep_impression import weights as deep_impression_import  # noqa: E402
from thinslice.systems.deep_impression.chainer import AUTHORS_ORDER, chainer_name, read_chainer  # noqa: E402
from thinslice.systems.deep_impression.network import DeepImpression  # noqa: E402
from thinslice.systems.deep_impression.weights import (  # noqa: E402
    EXPECTED,
    compare,
    import_deep_impression,
    published_interval,
)
from thinslice.traits import TRAITS  # noqa: E402


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return chainer_arrays()


def save(path: Path, arrays: dict[str, np.ndarray], write=np.savez) -> Path:  # type: ignore[no-untyped-def]
    """Write as Chainer does: under a name without a suffix."""
    with open(path, "wb") as file:
        write(file, **arrays)
    return path


@pytest.fixture(scope="module")
def model_file(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("chainer") / "model", arrays, np.savez_compressed)


def clip(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "waveform": rng.normal(0, 0.2, 16321).astype(np.float32),
        "frames": rng.integers(0, 256, (2, 16, 19, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2),
    }


def test_scores_equal_an_independent_computation(arrays: dict[str, np.ndarray], model_file: Path) -> None:
    expected = dict(zip(AUTHORS_ORDER, run_chainer(arrays, *clip().values()), strict=True))
    assert np.ptp(list(expected.values())) > 0.1  # Not all at an end, where every network agrees.
    model = read_chainer(model_file)
    with torch.no_grad():
        scores = model(**{name: torch.from_numpy(array)[None] for name, array in clip().items()})[0].numpy()
    np.testing.assert_allclose(scores, [expected[trait] for trait in TRAITS], atol=1e-5)


def test_every_name_is_one_of_theirs(arrays: dict[str, np.ndarray]) -> None:
    assert {chainer_name(name) for name in DeepImpression().state_dict()} == set(arrays)
    assert "aud/res3a_relu/res_branch1/W" in arrays
    assert "aud/res2a_relu/res_branch1/W" not in arrays
    assert sum(a.size for n, a in arrays.items() if n[-2:] not in ("/N",) and "avg_" not in n) == 5_601_989


def test_counts_of_batches_may_be_absent(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    without = {name: array for name, array in arrays.items() if not name.endswith("/N")}
    state = read_chainer(save(tmp_path / "model", without)).state_dict()
    assert torch.equal(
        state["sound.conv.weight"][:, :, 0], torch.from_numpy(arrays["aud/conv1_relu/conv/W"][:, :, 0, 0])
    )


class TestRefused:
    def check(self, path: Path, match: str) -> None:
        with pytest.raises(UsageError, match=match) as caught:
            read_chainer(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing_and_unknown_names(self, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
        fewer = {name: array for name, array in arrays.items() if name != "vis/res4a_relu/bn_branch1/beta"}
        self.check(save(tmp_path / "fewer", fewer), "lacks vis/res4a_relu/bn_branch1/beta$")
        more = {**arrays, "vis/extra/W": np.zeros(3)}
        self.check(save(tmp_path / "more", more), "holds the unknown vis/extra/W$")

    def test_other_shapes(self, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
        flat = {**arrays, "aud/res2a_relu/res_branch2a/W": arrays["aud/res2a_relu/res_branch2a/W"][:, :, 0]}
        self.check(save(tmp_path / "flat", flat), r"aud/res2a_relu/res_branch2a/W is float32 \(32, 32, 9\)")
        six = {**arrays, "fc/W": np.zeros((6, 512), np.float32)}
        self.check(save(tmp_path / "six", six), r"fc/W is float32 \(6, 512\), not numbers \(5, 512\)")

    def test_values_that_are_no_numbers(self, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
        nan = {**arrays, "fc/b": np.full(5, np.nan, np.float32)}
        self.check(save(tmp_path / "nan", nan), "fc/b holds values that are no numbers")
        below = {**arrays, "aud/conv1_relu/bn_conv/avg_var": np.full(32, -1, np.float32)}
        self.check(save(tmp_path / "below", below), "variance below 0")

    def test_code_is_not_run(self, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
        class Danger:
            def __reduce__(self):  # type: ignore[no-untyped-def]
                return (Path.touch, (tmp_path / "touched",))

        hostile = {**arrays, "fc/b": np.array([Danger()] * 5, dtype=object)}
        self.check(save(tmp_path / "hostile", hostile), "fc/b is object")
        with open(tmp_path / "pickle", "wb") as file:
            pickle.dump(Danger(), file)
        self.check(tmp_path / "pickle", "not a whole NumPy archive")
        assert not (tmp_path / "touched").exists()

    def test_bombs_and_fragments(self, arrays: dict[str, np.ndarray], model_file: Path, tmp_path: Path) -> None:
        bomb = io.BytesIO()
        np.lib.format.write_array_header_1_0(bomb, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
        with zipfile.ZipFile(tmp_path / "bomb", "w") as archive:
            for name in arrays:
                archive.writestr(f"{name}.npy", bomb.getvalue())
        self.check(tmp_path / "bomb", r"is float32 \(1099511627776,\)")
        (tmp_path / "half").write_bytes(model_file.read_bytes()[: model_file.stat().st_size // 2])
        self.check(tmp_path / "half", "not a whole NumPy archive")
        self.check(tmp_path / "absent", "cannot be read")


def test_bundle_scores_as_the_file_does(arrays: dict[str, np.ndarray], model_file: Path, tmp_path: Path) -> None:
    exported = import_deep_impression(model_file, tmp_path / "bundle")
    assert exported.largest_difference < 1e-4
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.outputs == TRAITS
    assert bundle.specs["frames"].params == {"num_frames": 375, "width": 456, "height": 256}
    inputs = clip()
    inputs["frames"] = np.zeros((1, 256, 456, 3), np.uint8)
    inputs["frames"][:, 60:200, 90:300] = (200, 100, 50)
    expected = dict(zip(AUTHORS_ORDER, run_chainer(arrays, *inputs.values()), strict=True))
    scores = OnnxModel(bundle.folder).predict(inputs)
    np.testing.assert_allclose(scores, [expected[trait] for trait in TRAITS], atol=1e-5)


def test_intervals_by_hand() -> None:
    # Openness: accuracy 0.91108539 (Table 2), R2 0.402 (PersEmoN, Table 4).
    low, high = published_interval("openness", 0.147)
    from_accuracy, from_r2 = 0.08891461 * 1.2533141, 0.147 * 0.598**0.5
    assert high == pytest.approx(1.2815516 * max(from_accuracy, from_r2), abs=1e-4)
    assert low == -high


def test_published_scores_are_compared_by_trait() -> None:
    scores = dict(EXPECTED["FU1ak530DDo.005"])
    assert scores["extraversion"] == 0.55507338
    assert scores["openness"] == 0.64844239
    check = compare("FU1ak530DDo.005.mp4", scores)
    assert check is not None
    assert check.agrees
    off = compare("FU1ak530DDo.005", {**scores, "openness": 0.6})
    assert off is not None
    assert not off.agrees
    assert off.largest_difference == pytest.approx(0.04844239)
    assert compare("other.mp4", scores) is None


def test_command_checks_clips(
    model_file: Path, real_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up weights no published score comes out: the command must say so and exit with 1."""
    real = real_clips[0]
    named = tmp_path / "FU1ak530DDo.005.mp4"
    named.symlink_to(real)
    recipe = deep_impression_import.deep_impression
    monkeypatch.setattr(deep_impression_import, "deep_impression", lambda: recipe(num_frames=2))
    arguments = ["deep-impression", str(model_file), "--out", str(tmp_path / "bundle"), "--check"]
    result = CliRunner().invoke(import_, [*arguments, str(named)])
    assert result.exit_code == 1, result.output
    assert "FU1ak530DDo.005: DOES NOT AGREE" in result.output
    assert "extraversion" in result.output
    unknown = CliRunner().invoke(import_, [*arguments, str(real)])
    assert unknown.exit_code == 2
    assert "no published scores" in unknown.output
