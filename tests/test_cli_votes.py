"""``thinslice votes`` and the tables of votes and ratings: strict reading, manifests that train takes."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from thinslice.data.manifest import load_manifest
from thinslice.data.votes import format_ratings, format_votes, is_answers, load_answers, load_votes
from thinslice.errors import ManifestError
from thinslice.evaluate.ratings import Ratings
from vote_files import simulate

HEADER = "left,right,openness\n"


def _file(folder: Path, text: str, name: str = "votes.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_votes_written_are_votes_read_packed_or_not(tmp_path: Path) -> None:
    votes, _ = simulate(20, 50, 0.8, targets=("openness", "interview"))
    votes.choices[0] = [np.nan, 0.0]
    plain = _file(tmp_path, format_votes(votes))
    packed = tmp_path / "votes.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        found = load_votes(path)
        assert found.targets == votes.targets
        assert np.array_equal(found.choices, votes.choices, equal_nan=True)
        assert [found.clips[i] for i in found.left] == [votes.clips[i] for i in votes.left]
        assert is_answers(path)


def test_ratings_written_are_ratings_read(tmp_path: Path) -> None:
    index = np.array([0, 0, 1])
    values = np.array([[1.0, 5.5], [np.nan, 2.0], [3.0, -1.0]])
    ratings = Ratings(("a", "b"), ("x", "y"), index, np.array([0, 1, 0]), values, ("openness", "warmth"))
    found = load_answers(_file(tmp_path, format_ratings(ratings)))
    assert isinstance(found, Ratings)
    assert (found.clips, found.raters, found.targets) == (ratings.clips, ratings.raters, ratings.targets)
    assert np.array_equal(found.values, values, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a,b,left\na,a.mp4,left\n", "line 3: a is compared with itself"),
        (HEADER + "a,b,yes\n", "line 2: openness is 'yes'; write left, right, tie"),
        (HEADER + "a,,left\n", "line 2: right is empty"),
        (HEADER + "a, b,left\n", "has blanks around it"),
        (HEADER + "a,b\n", "2 cells where the header has 3"),
        ("left,right,note\na,b,nice\n", "no column of votes"),
        ("clip,openness\na,0.5\n", "votes have columns left and right, ratings have clip and rater"),
        ("clip,rater,openness\na,x,1\na.mp4,x,2\n", "line 3: x rates a.mp4 again, first at"),
        ("clip,rater,openness\na,x,high\n", "line 2: openness is 'high', not a number"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError) as error:
        load_answers(_file(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv.gz"
    path.write_bytes(gzip.compress(HEADER.encode() * 100)[:40])
    with pytest.raises(ManifestError, match="damaged gzip file"):
        load_votes(path)


def test_an_own_question_counts_where_every_cell_is_an_answer(tmp_path: Path) -> None:
    votes = load_votes(_file(tmp_path, "left,right,warm,rater\na,b,left,r1\nb,c,,r2\n"))
    assert votes.targets == ("warm",)


def test_scores_are_a_manifest_that_train_takes(tmp_path: Path) -> None:
    votes, strength = simulate(40, 800, 1.0, targets=("openness", "extraversion"))
    path, out = _file(tmp_path, format_votes(votes)), tmp_path / "scores.csv"
    code, stdout, stderr = run("votes", path, "--out", out, "--json")
    assert code == 0, stderr
    document = json.loads(stdout)
    assert document["traits"]["openness"]["num_answers"] == 800
    low, high = document["traits"]["openness"]["ci95"]["reliability"]
    assert low < document["traits"]["openness"]["reliability"] < high
    manifest = load_manifest(out)
    assert manifest.warnings == ()
    assert set(manifest.splits) == {"train"}
    assert manifest.speakers[0] == manifest.clips[0].split(".")[0]
    order = [votes.clips.index(clip) for clip in manifest.clips]
    assert np.corrcoef(manifest.labels(("openness",))[:, 0], strength[order, 0])[0, 1] > 0.9
    assert (manifest.labels(("openness_error",)) > 0).all()
    assert manifest.labels(("weight",)).mean() == pytest.approx(1.0, abs=1e-5)


def test_paths_splits_and_speakers_come_from_a_manifest_of_the_clips(tmp_path: Path) -> None:
    votes = _file(tmp_path, "left,right,openness\nv/a.mp4,b,left\nb,c,right\n")
    base = _file(
        tmp_path,
        "clip,path,split,speaker,gender,openness\na.mp4,a.mp4,test,p1,f,0.1\nb.mp4,b.mp4,train,p2,m,0.2\n",
        "clips.csv",
    )
    out = tmp_path / "sub" / "scores.csv"
    code, _, stderr = run("votes", votes, "--clips", base, "--out", out)
    assert code == 0, stderr
    manifest = load_manifest(out)
    assert (manifest.clips, manifest.splits, manifest.speakers) == (("a.mp4", "b.mp4"), ("test", "train"), ("p1", "p2"))
    assert manifest.columns["gender"] == ("f", "m")
    assert manifest.columns["openness"][0] != "0.1"
    assert manifest.path(0).resolve() == (tmp_path / "a.mp4").resolve()


def test_ratings_are_scored_on_their_scale(tmp_path: Path) -> None:
    rows = "".join(f"c{clip},r{rater},{min(7, 1 + clip + rater)}\n" for clip in range(5) for rater in range(3))
    path, out = _file(tmp_path, "clip,rater,openness\n" + rows), tmp_path / "scores.csv"
    code, stdout, stderr = run("votes", path, "--scale", "1:7", "--out", out)
    assert code == 0, stderr
    assert "ICC(2,k)" in stdout
    scores = load_manifest(out).labels(("openness",))[:, 0]
    assert (np.diff(scores) > 0).all()
    for scale, message in (("2:7", "outside the scale"), ("7:1", "lowest and the highest")):
        code, _, stderr = run("votes", path, "--scale", scale, "--out", out)
        assert code == 2
        assert message in stderr
