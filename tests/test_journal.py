"""What an interrupted batch finished comes back as it was, and only for the same file and settings."""

from pathlib import Path

import pytest

from thinslice.infer.journal import Journal
from thinslice.types import CueShare, Explanation, Picture, Prediction, TraitScore, Window, WordShare

TRAIT = {"openness": TraitScore(0.5, 0.3, 0.7, 44.0)}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"media")
    return path


def prediction(clip: Path) -> Prediction:
    return Prediction(
        clip=str(clip),
        traits=TRAIT,
        used=("voice", "words"),
        transcript="héllo",
        warnings=("a warning",),
        seconds={"total": 0.1},
        bundle={"name": "voice-words", "version": "1"},
        explanation=Explanation(
            baseline={"openness": 0.5},
            inputs={"voice": {"openness": 0.0}},
            words=[WordShare("héllo", 0, {"openness": 0.0})],
            cues=[CueShare("loudness", None, {"openness": 0.0}, "voice")],
            pictures=[Picture("face", b"\x89PNG\x00")],
        ),
        timeline=(Window(0.0, 5.0, TRAIT), Window(5.0, 10.0, {}, "silent")),
    )


def test_a_finished_prediction_comes_back_whole(tmp_path: Path, clip: Path) -> None:
    Journal(tmp_path / "j", {"bundle": "a"}).add(str(clip), prediction(clip))
    assert Journal(tmp_path / "j", {"bundle": "a"}).get(str(clip)) == prediction(clip)


def test_other_settings_or_a_changed_file_are_scored_again(tmp_path: Path, clip: Path) -> None:
    Journal(tmp_path / "j", {"bundle": "a"}).add(str(clip), prediction(clip))
    assert Journal(tmp_path / "j", {"bundle": "b"}).get(str(clip)) is None
    clip.write_bytes(b"other media")
    assert Journal(tmp_path / "j", {"bundle": "a"}).get(str(clip)) is None


def test_a_line_cut_short_by_a_kill_is_passed_over(tmp_path: Path, clip: Path) -> None:
    journal = Journal(tmp_path / "j", {})
    journal.add(str(clip), prediction(clip))
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole + whole[: len(whole) // 2])
    reread = Journal(tmp_path / "j", {})
    assert reread.get(str(clip)) == prediction(clip)
    other = tmp_path / "other.mp4"
    other.write_bytes(b"media")
    reread.add(str(other), prediction(other))
    assert Journal(tmp_path / "j", {}).get(str(other)) == prediction(other)
