"""What votes leak between splits, and what is odd about tables of votes and ratings."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from thinslice.data.votes import format_votes
from thinslice.evaluate.audit_votes import audit_votes
from thinslice.evaluate.votes import build_votes
from thinslice.traits import TARGETS
from vote_files import simulate


def test_comparisons_between_splits_are_counted_and_what_they_tell_is_measured() -> None:
    votes, strength = simulate(60, 3000, 1.0, targets=TARGETS)
    splits = ["train" if i < 30 else "test" for i in range(60)]
    found = audit_votes(votes, votes.clips, splits, strength)
    across = sum((a < 30) != (b < 30) for a, b in zip(votes.left, votes.right, strict=True))
    assert found.between[0].num_votes == across
    assert found.splits["test"].num_with_training == across
    worth = found.splits["test"].lookup_r2
    assert worth is not None
    assert worth["average"] == pytest.approx(0.9, abs=0.08)  # 50 votes a clip by clear-sighted voters
    assert "Leave them out when you train on votes." in found.verdict[0]


def test_votes_within_splits_leak_nothing() -> None:
    votes = build_votes([("a", "b"), ("c", "d")], np.ones((2, 1)), ("openness",))
    found = audit_votes(votes, ["a", "b", "c", "d"], ["train", "train", "test", "test"], np.full((4, 6), np.nan))
    assert found.between[0].num_votes == 0
    assert found.verdict == ("No vote compares a clip of test with one of train: votes leak nothing between them.",)
    elsewhere = audit_votes(votes, ["x"], ["train"], np.full((1, 6), np.nan))
    assert elsewhere.num_unknown == 2


def test_the_command_shows_them(tmp_path: Path) -> None:
    votes, _ = simulate(20, 300, 1.0)
    (tmp_path / "votes.csv").write_text(format_votes(votes))
    rows = [f"{clip},,{'train' if i % 2 else 'test'},s{i},{i / 20}" for i, clip in enumerate(votes.clips)]
    (tmp_path / "m.csv").write_text("clip,path,split,speaker,openness\n" + "\n".join(rows) + "\n")
    code, stdout, _ = run("audit", tmp_path / "m.csv", "--votes", tmp_path / "votes.csv", "--json")
    assert code == 0
    assert json.loads(stdout)["votes"]["splits"]["test"]["num_with_training"] > 0
    code, stdout, _ = run("audit", tmp_path / "m.csv", "--votes", tmp_path / "votes.csv")
    assert "Votes between splits" in stdout


def test_verify_tells_what_is_odd_about_votes(tmp_path: Path) -> None:
    rows = "a,b,left\n" * 40 + "c,d,\nc,d,left\n"
    (tmp_path / "votes.csv").write_text("left,right,openness\n" + rows)
    code, stdout, _ = run("data", "verify", tmp_path / "votes.csv")
    assert code == 0
    for text in ("chosen in 100.0% of votes", "2 clips with fewer than 5 votes", "2 sets that no vote joins"):
        assert text in stdout
    code, stdout, _ = run("data", "verify", tmp_path / "votes.csv", "--json")
    assert json.loads(stdout)["num_clips"] == 4
    assert {finding["check"] for finding in json.loads(stdout)["findings"]} == {
        *("sides", "few", "components", "pairs", "answers")
    }


def test_verify_tells_what_is_odd_about_ratings(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("clip,rater,openness\na,x,4\nb,x,4\na,y,1\nb,y,2\nc,y,3\n")
    _, stdout, _ = run("data", "verify", tmp_path / "r.csv")
    assert "all their ratings are alike: 1 rater, such as x" in stdout
    assert "1 clip with fewer than two ratings" in stdout
