"""The planted corpus: its statistics, its files, and that each input tells of its trait and of no other."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from planted_probes import INPUTS, landmarked_share, probe_features, probe_table, speaker_folds
from thinslice.assets import find_asset
from thinslice.cli.data_planted import planted
from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import Manifest, load_manifest
from thinslice.data.official import load_official_clips
from thinslice.data.planted.causes import (
    BEST_R2,
    ICC,
    LIMIT,
    NUM_CUE_WORDS,
    Causes,
    best_r2,
    draw_causes,
    intraclass_correlation,
)
from thinslice.data.planted.clip import Format, write_clip
from thinslice.data.planted.corpus import plant
from thinslice.data.planted.emotion import planted_emotion
from thinslice.data.planted.voice import RATE_HZ, draw_timbre, speak
from thinslice.data.planted.words import COLD, WARM, write_transcript
from thinslice.data.splits import speaker_overlap
from thinslice.errors import AssetError, UsageError
from thinslice.formats.python2_pickle import load_annotations, load_transcripts
from thinslice.media.source import Source
from thinslice.traits import TARGETS, TRAITS

SMALL = Format(rate_hz=10, duration_s=2.5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """80 short clips of 40 people."""
    return plant(tmp_path_factory.mktemp("planted") / "corpus", 80, 40, seed=3, form=SMALL, workers=2)


@pytest.fixture(scope="module")
def landmarks() -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra video is not installed")
    try:
        find_asset("face_landmarker")
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def table(corpus: Manifest) -> Mapping[str, Mapping[str, float]]:
    return probe_table(corpus, probe_features(corpus, with_faces=False), speaker_folds(corpus))


@pytest.fixture(scope="module")
def many() -> Causes:
    return draw_causes(20_000, 5_000, seed=0)


def test_labels_are_distributed_as_stated(many: Causes) -> None:
    assert many.labels.min() >= 0
    assert many.labels.max() <= 1
    assert np.abs(many.labels.mean(axis=0) - 0.5).max() < 0.005
    assert np.abs(many.labels.std(axis=0) - 0.14).max() < 0.004
    within = [intraclass_correlation(column, many.speakers) for column in many.labels.T]
    assert np.abs(np.array(within) - ICC).max() < 0.03


def test_best_r2_is_what_the_cue_explains(many: Causes) -> None:
    left = ((many.labels - many.expected) ** 2).mean(axis=0)
    assert np.abs(1 - left / many.labels.var(axis=0) - BEST_R2).max() < 0.02
    # A straight line on each cue alone, for every target: what `best_r2` says.
    stated = best_r2()
    for k, trait in enumerate(TRAITS):
        where = next(name for name, value in stated[trait].items() if value)
        for j, target in enumerate(TARGETS):
            r2 = np.corrcoef(many.cues[:, k], many.labels[:, j])[0, 1] ** 2
            assert r2 == pytest.approx(stated[target][where], abs=0.025), (trait, target)


def test_cues_are_independent_of_each_other_within_and_between_speakers(many: Causes) -> None:
    assert np.abs(np.corrcoef(many.cues.T) - np.eye(5)).max() < 0.03
    assert np.abs(many.cues).max() <= LIMIT + 1e-9


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0, 5.0, 9.0, 8.0]])
def test_intraclass_correlation_by_hand(values: list[float]) -> None:
    # Groups (1, 2), (4, 5), (9, 8): the mean square between is twice the variance of their means, within it is 0.5.
    between, within = 2 * np.var([1.5, 4.5, 8.5], ddof=1), 0.5
    expected = (between - within) / (between + within)
    assert intraclass_correlation(np.array(values), np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(expected)


@pytest.mark.parametrize(("clips", "speakers"), [(3, 4), (5, 0)])
def test_impossible_numbers_of_speakers(clips: int, speakers: int) -> None:
    with pytest.raises(UsageError, match="speakers"):
        draw_causes(clips, speakers, 0)


@pytest.mark.parametrize("num_warm", [0, 5, NUM_CUE_WORDS])
def test_transcripts_have_the_planted_words(num_warm: int) -> None:
    words = write_transcript(num_warm, np.random.default_rng(1)).lower().replace(".", "").split()
    assert sum(word in WARM for word in words) == num_warm
    assert sum(word in COLD for word in words) == NUM_CUE_WORDS - num_warm


def test_no_neutral_word_is_a_cue_word() -> None:
    assert not set(WARM) & set(COLD)


def test_a_deep_voice_is_loud_and_a_high_one_soft() -> None:
    timbre = draw_timbre(np.random.default_rng(0))
    deep, high = (speak(cue, timbre, 3.0, np.random.default_rng(1)).samples for cue in (2.0, -2.0))
    assert np.std(deep) > 2 * np.std(high)
    likeness = [np.fft.irfft(np.abs(np.fft.rfft(v, 2**18)) ** 2)[: RATE_HZ // 60] for v in (deep, high)]
    lags = [np.argmax(values[RATE_HZ // 400 :]) + RATE_HZ // 400 for values in likeness]
    assert RATE_HZ / lags[0] == pytest.approx(165 * 2 ** (-0.28 * 2), rel=0.1)
    assert RATE_HZ / lags[1] == pytest.approx(165 * 2 ** (0.28 * 2), rel=0.1)


def test_each_input_tells_of_its_trait_on_unseen_speakers(table: Mapping[str, Mapping[str, float]]) -> None:
    for probe in ("scene", "time", "text", "sound"):
        assert table[probe][INPUTS[probe]] >= 0.5, table


def test_no_input_tells_of_another_trait(table: Mapping[str, Mapping[str, float]]) -> None:
    for probe in ("scene", "time", "text", "sound"):
        others = [r2 for trait, r2 in table[probe].items() if trait != INPUTS[probe]]
        assert max(others) < 0.15, table


def test_one_frame_does_not_tell_of_motion(table: Mapping[str, Mapping[str, float]]) -> None:
    assert table["one_frame"]["openness"] > 0.5
    assert table["one_frame"]["conscientiousness"] < 0.15


@pytest.mark.usefixtures("landmarks")
def test_the_landmarker_finds_drawn_faces_and_they_tell_of_extraversion(corpus: Manifest) -> None:
    paths = [corpus.path(i) for i in range(0, len(corpus), 4)]
    assert landmarked_share(paths) >= 0.95
    from planted_probes import mouth, ridge_r2

    features = np.array([mouth(Source(corpus.path(i))) for i in range(len(corpus))])
    r2 = dict(zip(TRAITS, ridge_r2(features, corpus.labels(TRAITS), speaker_folds(corpus)), strict=True))
    assert r2["extraversion"] >= 0.5, r2
    assert max(value for trait, value in r2.items() if trait != "extraversion") < 0.15, r2


def test_files_are_those_of_the_official_layout(corpus: Manifest) -> None:
    imported = import_first_impressions(corpus.folder)
    assert imported.problems == ()
    assert imported.manifest.digest == corpus.digest == load_manifest(corpus.folder / "manifest.csv").digest
    train = corpus.select("train")
    labels = load_annotations(corpus.folder / "annotation_training.pkl")
    assert list(labels) == list(TARGETS)
    assert labels["openness"][train.clips[0]] == train.labels(TARGETS)[0, 0]
    texts = load_transcripts(corpus.folder / "transcription_training.pkl")
    assert texts[train.clips[0]] == train.column("transcript")[0]
    assert (corpus.folder / "annotation_training.pkl").read_bytes()[:2] == b"\x80\x02"


def test_clips_are_ordinary_media(corpus: Manifest) -> None:
    info = Source(corpus.path(0)).info
    assert (info.width, info.height) == (228, 128)
    assert info.has_audio
    assert info.duration_s == pytest.approx(2.5, abs=0.05)


def test_speakers_are_in_one_split_and_no_name_is_official(corpus: Manifest) -> None:
    assert speaker_overlap(corpus) == {}
    assert sorted(set(corpus.splits)) == ["test", "train", "validation"]
    assert not {clip[:-4] for clip in corpus.clips} & set(load_official_clips())


def test_what_is_planted_is_written_beside_it(corpus: Manifest) -> None:
    about = json.loads((corpus.folder / "planted.json").read_text())
    assert "people" in about["warning"]
    assert about["best_r2"]["extraversion"] == {"scene": 0, "time": 0, "face": BEST_R2, "text": 0, "sound": 0}
    assert about["manifest_digest"] == corpus.digest
    assert about["realised"]["splits"]["train"]["r2_of_the_cues"]["openness"] == pytest.approx(BEST_R2, abs=0.12)
    assert "SYNTHETIC" in (corpus.folder / "README.md").read_text()


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    form = Format(width=128, height=64, rate_hz=5, duration_s=1.5)
    cues = np.array([1.0, -1.0, 0.5, 0.0, -0.5])
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_clip(tmp_path / name, cues, [0, 1, 7], [0, 2, seed], form)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_an_interrupted_call_goes_on_and_another_one_is_refused(tmp_path: Path) -> None:
    form = Format(width=128, height=64, rate_hz=5, duration_s=1.5)
    first = plant(tmp_path / "p", 6, 3, seed=1, form=form)
    (tmp_path / "p" / "manifest.csv").unlink()
    first.path(2).unlink()
    kept = first.path(0).stat().st_mtime_ns
    steps: list[int] = []
    again = plant(tmp_path / "p", 6, 3, seed=1, form=form, on_done=lambda done, total: steps.append(done))
    assert again.digest == first.digest
    assert steps == [5, 6]
    assert first.path(0).stat().st_mtime_ns == kept
    with pytest.raises(UsageError, match="other arguments"):
        plant(tmp_path / "p", 6, 3, seed=2, form=form)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(UsageError, match="not empty"):
        plant(tmp_path / "full", 6, 3, form=form)


def test_the_command(tmp_path: Path) -> None:
    call = [str(tmp_path / "p"), "--clips", "4", "--speakers", "3", "--size", "128x64", "--rate", "5", "--seconds", "2"]
    result = CliRunner().invoke(planted, [*call, "--emotion-images", "15", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "0.85 from the right input" in result.output
    assert "synthetic" in result.stderr
    assert len(load_manifest(tmp_path / "p" / "manifest.csv")) == 4
    assert len(load_manifest(tmp_path / "p" / "emotion" / "manifest.csv")) == 15
    document = json.loads(CliRunner().invoke(planted, [*call, "--workers", "1", "--json"]).stdout)
    assert document["arguments"]["clips"] == 4


@pytest.mark.parametrize("size", ["228", "0x0", "128x63", "axb"])
def test_a_wrong_size_is_a_wrong_call(tmp_path: Path, size: str) -> None:
    result = CliRunner().invoke(planted, [str(tmp_path / "p"), "--clips", "3", "--size", size])
    assert result.exit_code
    assert not (tmp_path / "p").exists()


def test_emotion_images_show_what_their_labels_say(tmp_path: Path) -> None:
    from PIL import Image

    manifest = planted_emotion(tmp_path, 30, seed=1)
    assert speaker_overlap(manifest) == {}
    labels = manifest.labels(["valence", "arousal"])
    assert np.abs(labels).max() <= 1
    assert labels.std(axis=0) == pytest.approx([0.4, 0.4], abs=0.13)
    picture = np.asarray(Image.open(manifest.path(0)))
    assert picture.shape == (128, 128, 3)
    middle = picture[50:70, 54:74].astype(float)
    assert np.ptp(middle.mean(axis=(0, 1))) < 6  # The sketch style has no colours: that is the domain gap.
