import numpy as np
import pytest

from thinslice.errors import BundleError, MediaError, UsageError
from thinslice.face_voice_words import MODES, load_face_voice_words
from thinslice.face_voice_words.descriptor import BLOCKS, SIZE
from thinslice.face_voice_words.model import build_face_voice_words, modes_with
from thinslice.traits import TARGETS

DIMENSIONS = sum(BLOCKS.values())
TEXTS = ("so today I want to talk about my trip and the people", "hi guys", "well you know I do not think so at all")


class RowsForFaces:
    """Stands for the networks: a picture's first pixel is the number of its descriptor."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def describe_both_ways(self, faces: np.ndarray) -> np.ndarray:
        return self.rows[faces[:, 0, 0, 0]]


def picture(number: int) -> np.ndarray:
    return np.full((1, SIZE, SIZE, 3), number, np.uint8)


@pytest.fixture(scope="module")
def planted():
    """A small made-up training set, what is fitted on it, and the model that this gives."""
    pytest.importorskip("sklearn")
    from thinslice.face_voice_words import trainer
    from thinslice.voice_words.trainer import TrainingData, VoiceWordsSettings

    rng = np.random.default_rng(0)
    number = 60
    looks = rng.normal(size=(number, 3))
    descriptors = (looks @ rng.normal(size=(3, DIMENSIONS)) + rng.normal(size=(number, DIMENSIONS))).astype(np.float32)
    labels = np.clip(0.5 + 0.1 * looks @ rng.normal(size=(3, 6)) + 0.02 * rng.normal(size=(number, 6)), 0, 1)
    voice = np.abs(rng.normal(5, 1, size=(number, 26)))
    voice[7] = np.nan
    texts = tuple(TEXTS[row % 3] if row != 9 else "" for row in range(number))
    clips = tuple(f"s{row // 2:02d}.{row:03d}.mp4" for row in range(number))
    data = TrainingData(clips, labels, voice, texts, np.arange(number) // 2, {})
    counts = np.full(number, 4)
    counts[5] = 0
    settings = trainer.FaceVoiceWordsSettings(
        num_directions=8,
        num_centres=12,
        spoken=VoiceWordsSettings(
            voice_widths=((0.3, 10, 0.8),), pace_centres=3, num_background=4, min_clips={"char2-5": 2, "word1": 1}
        ),
    )
    fitted = trainer.prepare(data, descriptors, counts, settings, seed=0)
    model = build_face_voice_words(trainer.fit_arrays(data, fitted, settings), RowsForFaces(descriptors))
    return data, settings, fitted, model


def test_every_mode_gives_what_its_gaussian_process_gives(planted):
    data, settings, fitted, model = planted
    from thinslice.voice_words.additive import fit_additive

    for mode in MODES:
        rows = fitted.rows(mode)
        kernel = np.sum([np.float32(fitted.scales[name]) * fitted.kernels[name] for name in fitted.names(mode)], axis=0)
        among = kernel[np.ix_(rows, rows)]
        constant, duals = fit_additive(
            {"all": among},
            data.labels[rows],
            data.speakers[rows],
            {"all": 1.0},
            settings.noise[mode],
            settings.shared_noise(mode),
        )
        few = rows[:3]
        scores, used = model.predict(
            [picture(row) if "face" in mode else None for row in few],
            data.voice[few] if "voice" in mode else None,
            [data.transcripts[row] if "words" in mode else None for row in few],
        )
        assert used == [tuple(mode.split("+"))] * 3
        np.testing.assert_allclose(scores, np.clip(constant + (among @ duals)[:3], 0, 1), atol=2e-3)


def test_the_planted_looks_are_learned_for_speakers_apart(planted):
    data, settings, fitted, _ = planted
    from thinslice.face_voice_words.trainer import cross_predict
    from thinslice.voice_words.trainer import grouped_folds

    found = cross_predict(data, fitted, grouped_folds(data.speakers, 5, 0), settings)
    seen = np.isfinite(found["face"]).all(axis=1)
    assert np.flatnonzero(~seen).tolist() == [5]
    correlations = [np.corrcoef(found["face"][seen, t], data.labels[seen, t])[0, 1] for t in range(6)]
    assert min(correlations) > 0.5
    assert np.isnan(found["face+voice"][7]).all()
    assert np.isnan(found["words"][9]).all()


def test_no_centre_is_a_single_clips_face(planted):
    model = planted[-1]
    view = model.face["face"].view
    seen = view.scaled(model.describer.rows) @ view.basis.astype(np.float32) * view.basis_steps
    distances = np.abs(view.centres[:, None] - np.delete(seen, 5, axis=0)).max(axis=2)
    assert distances.min() > 1e-3


def test_a_clips_pictures_are_averaged(planted):
    _, _, _, model = planted
    both = np.concatenate([picture(1), picture(2)])
    rows = model.describer.rows
    expected = model.baseline["face"] + model.face["face"].predict(rows[[1, 2]].mean(axis=0, keepdims=True))[0]
    scores, _ = model.predict([both], None, [None])
    np.testing.assert_allclose(scores[0], np.clip(expected, 0, 1), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_shares_sum_to_the_score_in_every_mode(planted, mode):
    data, _, _, model = planted
    given = (
        picture(3) if "face" in mode else None,
        data.voice[3] if "voice" in mode else None,
        data.transcripts[3] if "words" in mode else None,
    )
    explained = model.explain(*given)
    assert set(explained.inputs) == set(mode.split("+"))
    scores, _ = model.predict([given[0]], None if given[1] is None else given[1][None], [given[2]])
    for index, target in enumerate(TARGETS):
        total = explained.baseline[target] + sum(share[target] for share in explained.inputs.values())
        assert total == pytest.approx(scores[0, index], abs=1e-9)


def test_a_clip_does_not_change_the_scores_of_others(planted):
    data, _, _, model = planted
    faces = [picture(row) for row in range(4)]
    together, _ = model.predict(faces, data.voice[:4], data.transcripts[:4])
    for row in range(4):
        alone, _ = model.predict([faces[row]], data.voice[row : row + 1], [data.transcripts[row]])
        np.testing.assert_array_equal(alone[0], together[row])


def test_nothing_to_go_by_and_wrong_shapes_are_said(planted):
    _, _, _, model = planted
    with pytest.raises(MediaError, match="neither a face, a voice nor words"):
        model.predict([None], None, [None])
    with pytest.raises(UsageError, match=r"uint8 \(k, 176, 176, 3\)"):
        model.predict([np.zeros((1, 32, 32, 3), np.uint8)], None, [None])
    with pytest.raises(UsageError, match="2 sets of faces and 1 transcripts"):
        model.predict([None, None], None, ["hello"])


def test_a_bundle_without_networks_is_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", baseline=np.zeros((7, 6)))
    with pytest.raises(BundleError, match=r"face\.onnx"):
        load_face_voice_words(tmp_path, TARGETS)


def test_modes_cover_every_subset_once():
    from itertools import combinations

    names = ("face", "voice", "words")
    subsets = {"+".join(names[i] for i in some) for k in (1, 2, 3) for some in combinations(range(3), k)}
    assert set(MODES) == subsets
    assert len(MODES) == 7
    assert modes_with("face") == ["face+voice+words", "face+voice", "face+words", "face"]


@pytest.fixture(scope="module")
def shipped():
    from thinslice.bundle import find_bundle

    return load_face_voice_words(find_bundle("face-voice-words"), TARGETS, threads=1)


@pytest.fixture(scope="module")
def sample_faces() -> np.ndarray:
    from thinslice.features.face_portraits import extract_face_portraits
    from thinslice.media.source import Source

    return extract_face_portraits(Source("examples/sample.mp4"), num_frames=2)


def test_what_ships_scores_a_mirror_image_alike(shipped, sample_faces):
    scores = shipped.face_scores(np.concatenate([sample_faces[:1], sample_faces[:1, :, ::-1]]))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    assert ((scores > 0.2) & (scores < 0.8)).all()


def test_what_ships_hardly_minds_a_little_light_and_compression(shipped, sample_faces):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(sample_faces[0]).save(buffer, "JPEG", quality=60)
    compressed = np.asarray(Image.open(buffer))
    brighter = np.clip(sample_faces[0].astype(float) * 1.1 + 5, 0, 255).astype(np.uint8)
    scores = shipped.face_scores(np.stack([sample_faces[0], compressed, brighter]))
    assert np.abs(scores[1] - scores[0]).mean() < 0.02
    assert np.abs(scores[2] - scores[0]).mean() < 0.02


def test_predicting_and_explaining_look_once(shipped, sample_faces, monkeypatch):
    looks = []
    describe = shipped.describer.describe
    monkeypatch.setattr(shipped.describer, "describe", lambda faces: looks.append(len(faces)) or describe(faces))
    shipped.predict([sample_faces], None, [None])
    shipped.explain(sample_faces, None, None)
    assert looks == [2 * len(sample_faces)]


def test_what_ships_is_small_and_holds_no_pickle():
    from thinslice.bundle import find_bundle

    folder = find_bundle("face-voice-words")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20e6
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiu" for name in file.files)


def test_intervals_hold_between_speakers_met_and_not_met():
    from thinslice.face_voice_words.calibration import pooled_coverages, pooled_intervals
    from thinslice.voice_words.trainer import TrainingData

    rng = np.random.default_rng(4)
    number = 4000
    speakers = np.arange(number) // 2
    labels = rng.uniform(0.3, 0.7, (number, 6))
    data = TrainingData(("x",) * number, labels, np.full((number, 26), np.nan), ("",) * number, speakers, {})
    unseen = {"face": labels + 0.10 * rng.normal(size=labels.shape)}
    seen = {"face": labels + 0.08 * rng.normal(size=labels.shape)}
    unseen["face"][:10] = np.nan
    low, high = pooled_intervals(data, unseen, seen)["face"]["interview"]
    assert -low == pytest.approx(high, abs=0.01)
    assert 1.2816 * 0.08 < high < 1.2816 * 0.10
    found = pooled_coverages(data, unseen, seen, seed=0)
    both = [np.mean(list(found[kind]["face"].values())) for kind in ("unseen_speakers", "seen_speakers")]
    assert both[0] < 0.79 < 0.81 < both[1]
    assert np.mean(both) == pytest.approx(0.8, abs=0.01)
