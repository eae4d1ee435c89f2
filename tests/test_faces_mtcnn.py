"""MTCNN: the networks against torch, its file reader, and its boxes against the other detector."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.assets import find_asset
from thinslice.errors import AssetError
from thinslice.features.face_boxes import overlaps
from thinslice.features.face_detect import find_faces_in_image
from thinslice.features.mtcnn import Mtcnn, _running_sums, _scaled, suppress
from thinslice.features.mtcnn_networks import build_network
from thinslice.formats.torch_pickle import load_weights
from thinslice.media.source import Source

CONVOLUTIONS = {  # name -> channels in, channels out, kernel
    "pnet": {
        "conv1": (3, 10, 3),
        "conv2": (10, 16, 3),
        "conv3": (16, 32, 3),
        "conv4_1": (32, 2, 1),
        "conv4_2": (32, 4, 1),
    },
    "rnet": {"conv1": (3, 28, 3), "conv2": (28, 48, 3), "conv3": (48, 64, 2)},
    "onet": {"conv1": (3, 32, 3), "conv2": (32, 64, 3), "conv3": (64, 64, 3), "conv4": (64, 128, 2)},
}
DENSE = {
    "pnet": {},
    "rnet": {"dense4": (576, 128), "dense5_1": (128, 2), "dense5_2": (128, 4)},
    "onet": {"dense5": (1152, 256), "dense6_1": (256, 2), "dense6_2": (256, 4), "dense6_3": (256, 10)},
}
SLOPES = {"pnet": (10, 16, 32), "rnet": (28, 48, 64, 128), "onet": (32, 64, 64, 128, 256)}


def random_weights(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = {}
    for layer, (num_in, num_out, kernel) in CONVOLUTIONS[name].items():
        spread = 1 / np.sqrt(num_in * kernel**2)
        weights[f"{layer}.weight"] = rng.normal(0, spread, (num_out, num_in, kernel, kernel)).astype(np.float32)
        weights[f"{layer}.bias"] = rng.normal(0, 0.1, num_out).astype(np.float32)
    for layer, (num_in, num_out) in DENSE[name].items():
        weights[f"{layer}.weight"] = rng.normal(0, 1 / np.sqrt(num_in), (num_out, num_in)).astype(np.float32)
        weights[f"{layer}.bias"] = rng.normal(0, 0.1, num_out).astype(np.float32)
    for index, num in enumerate(SLOPES[name], start=1):
        weights[f"prelu{index}.weight"] = rng.uniform(0, 0.5, num).astype(np.float32)
    return weights


def in_torch(name: str, weights: dict[str, np.ndarray], pixels: np.ndarray) -> list[np.ndarray]:
    """The networks by torch's own layers: facenet-pytorch's definition."""
    torch = pytest.importorskip("torch")
    function = torch.nn.functional
    w = {key: torch.from_numpy(value) for key, value in weights.items()}
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    pools = {"pnet": (2,), "rnet": (3, 3), "onet": (3, 3, 2)}[name]
    num_trunk = len(SLOPES[name]) - (name != "pnet")
    for index in range(1, num_trunk + 1):
        x = function.conv2d(x, w[f"conv{index}.weight"], w[f"conv{index}.bias"])
        x = function.prelu(x, w[f"prelu{index}.weight"])
        if index <= len(pools):
            x = function.max_pool2d(x, pools[index - 1], 2, ceil_mode=True)
    if name == "pnet":
        shift = function.conv2d(x, w["conv4_2.weight"], w["conv4_2.bias"]).permute(0, 2, 3, 1)
        face = function.conv2d(x, w["conv4_1.weight"], w["conv4_1.bias"]).softmax(dim=1)[:, 1]
        return [shift.numpy(), face.numpy()]
    first, *heads = DENSE[name]
    x = x.permute(0, 3, 2, 1).reshape(len(x), -1)
    x = function.prelu(function.linear(x, w[f"{first}.weight"], w[f"{first}.bias"]), w[f"prelu{num_trunk + 1}.weight"])
    face, *others = (function.linear(x, w[f"{head}.weight"], w[f"{head}.bias"]) for head in heads)
    return [*(other.numpy() for other in others), face.softmax(dim=1)[:, 1].numpy()]


@pytest.mark.parametrize(
    ("name", "size"),
    [("pnet", (31, 44)), ("pnet", (30, 41)), ("pnet", (12, 12)), ("rnet", (24, 24)), ("onet", (48, 48))],
)
def test_networks_equal_torch(name, size):
    weights = random_weights(name)
    pixels = np.random.default_rng(1).normal(0, 0.5, (3, *size, 3)).astype(np.float32)
    for ours, theirs in zip(build_network(name, weights)(pixels), in_torch(name, weights, pixels), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@given(seed=st.integers(0, 1000), width=st.integers(1, 40), height=st.integers(1, 40))
def test_scaling_equals_torchs_area_interpolation(seed, width, height):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (30, 26, 3), np.uint8)
    left, top, right, bottom = 2, 3, 2 + int(rng.integers(1, 24)), 3 + int(rng.integers(1, 27))
    part = torch.from_numpy(image[top:bottom, left:right].copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(part, size=(height, width), mode="area")[0].permute(1, 2, 0).numpy()
    ours = _scaled(_running_sums(image), (left, top, right, bottom), width, height)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@given(seed=st.integers(0, 1000), num=st.integers(0, 12), threshold=st.floats(0.1, 0.9))
def test_suppression_keeps_no_two_that_overlap_and_drops_none_without_cause(seed, num, threshold):
    rng = np.random.default_rng(seed)
    corner, extent = rng.uniform(0, 50, (num, 2)), rng.uniform(1, 40, (num, 2))
    boxes, scores = np.column_stack([corner, corner + extent]), rng.permutation(num) / max(num, 1)
    kept = list(suppress(boxes, scores, threshold))
    assert sorted(scores[kept], reverse=True) == list(scores[kept])
    for index in range(num):
        covering = [other for other in kept if scores[other] > scores[index]]
        covered = bool(covering) and overlaps(boxes[index], boxes[covering]).max() > threshold
        assert (index not in kept) == covered


def test_a_picture_without_faces_and_one_smaller_than_any_face():
    weights = {name: random_weights(name) for name in SLOPES}
    weights["pnet"]["conv4_1.bias"] = np.array([50, -50], np.float32)  # Never sure.
    empty = Mtcnn(weights).detect(np.zeros((60, 80, 3), np.uint8))
    assert (empty.boxes.shape, empty.scores.shape, empty.points.shape) == ((0, 4), (0,), (0, 5, 2))
    assert len(Mtcnn(weights).detect(np.zeros((8, 8, 3), np.uint8)).boxes) == 0


def saved(tmp_path, state):
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pt"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def test_weight_files_are_read_without_torch(tmp_path):
    torch = pytest.importorskip("torch")
    weights = random_weights("pnet")
    state = OrderedDict((name, torch.from_numpy(value)) for name, value in weights.items())
    state["conv2.weight"] = state["conv2.weight"].permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2)
    read = load_weights(saved(tmp_path, state))
    assert read.keys() == weights.keys()
    for name, value in weights.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], value)


def test_a_weight_file_runs_no_code(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").write_text, ("x",))

    path = tmp_path / "net.pt"
    with open(path, "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {}, Hostile()):
            pickle.dump(value, file, protocol=2)
    with pytest.raises(AssetError, match=r"net\.pt: is no weight file"):
        load_weights(path)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_weight_file_is_an_error(tmp_path):
    torch = pytest.importorskip("torch")
    whole = saved(tmp_path, OrderedDict(a=torch.arange(40.0), b=torch.ones(3, 4))).read_bytes()
    path = tmp_path / "damaged.pt"
    rng = np.random.default_rng(0)
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(AssetError):
            load_weights(path)
    for _ in range(300):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        try:
            read = load_weights(path)
        except AssetError:
            continue
        assert all(isinstance(value, np.ndarray) for value in read.values())


def test_both_detectors_see_the_same_face(real_clips):
    for name in ("mtcnn", "face_landmarker"):
        try:
            find_asset(name)
        except AssetError as error:
            pytest.skip(str(error))
    for clip in real_clips[::6]:
        image = next(Source(clip).frames([1.0])).image
        (mesh,) = find_faces_in_image(image, "landmarker")
        five = find_faces_in_image(image, "mtcnn")[0]
        assert overlaps(np.array(mesh.box), np.array(five.box))[0] > 0.6
        for name, place in five.landmarks.items():
            assert np.hypot(*np.subtract(place, mesh.landmarks[name])) < 0.3 * mesh.eye_distance
