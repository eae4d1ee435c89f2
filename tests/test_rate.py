"""Collecting votes and ratings: questions, answers on disk, choice, checks, undo, and what is exported."""

import csv
import json
import os
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from thinslice.cli.rate import rate
from thinslice.data.manifest import Manifest, load_manifest, save_manifest
from thinslice.data.votes import load_answers
from thinslice.errors import OutputError, UsageError
from thinslice.rate.answers import FILE, AnswerFile, NotKeptError, open_answers, read_answers
from thinslice.rate.choose import ClipChooser
from thinslice.rate.export import collect, export, judge_raters
from thinslice.rate.questions import PRESETS, Study, load_study, open_study
from thinslice.rate.session import Session
from thinslice.rate.tokens import clip_token, load_secret, sign, verify
from thinslice.traits import TARGETS

CLIPS = tuple(f"clip{n}.mp4" for n in range(8))
SECRET = b"s" * 32


def study(mode="pairs", **fields) -> Study:
    import msgspec

    questions = [
        {"trait": "extraversion", "text": "Who seems friendlier?"},
        {"trait": "neuroticism", "text": "Who seems more nervous?", "reversed": True},
    ]
    return msgspec.convert({"title": "t", "mode": mode, "questions": questions, **fields}, Study)


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    for clip in CLIPS:
        (tmp_path / clip).write_bytes(bytes(range(100)))
    columns = (CLIPS, CLIPS, ("train",) * len(CLIPS), tuple(f"s{n}" for n in range(len(CLIPS))))
    save_manifest(Manifest(*columns, folder=tmp_path), tmp_path / "clips.csv")
    return load_manifest(tmp_path / "clips.csv")


@pytest.fixture
def answers(tmp_path):
    with open_answers(tmp_path / FILE) as file:
        yield file


def session(file: AnswerFile, **fields) -> Session:
    return Session(study(**fields), CLIPS, file, SECRET)


def answer_all(running: Session, rater: str, choose, limit: int = 100) -> int:
    """Answer until all is done or `limit`; return how many."""
    for count in range(limit):
        task = running.next(rater)
        if task is None:
            return count
        running.answer(rater, task.token, choose(task), 4.0, (3.0, 3.0))
    return limit


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.toml")))
def test_presets_ask_about_the_big_five(preset):
    traits = {question.trait for question in load_study(preset).questions}
    assert traits - {"interview"} == set(TARGETS) - {"interview"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = 'a'\nquestions = []", "no \\[\\[questions"),
        ("title = 'a'", "questions"),
        ("title = 'a'\nmode = 'triples'\nquestions = [{trait = 'a'}]", "mode"),
        ("title = 'a'\nquestions = [{trait = 'a', text = 'b'}, {trait = 'a', text = 'c'}]", "once"),
        ("title = 'a'\nquestions = [{trait = 'left', text = 'b'}]", "other than left"),
        ("title = 'a'\nmode = 'ratings'\nquestions = [{trait = 'a'}]\nscale = {low = 3, high = 1}", "low < high"),
        ("title = ", "TOML"),
    ],
)
def test_a_wrong_file_of_questions_is_one_line(tmp_path, text, says):
    (tmp_path / "q.toml").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=says) as caught:
        load_study(str(tmp_path / "q.toml"))
    assert "\n" not in str(caught.value)


def test_questions_may_be_in_any_language(tmp_path):
    text = "title='印象'\nlanguage='ar'\ndirection='rtl'\n"
    text += "[[questions]]\ntrait='wärme'\ntext='谁更友好？'\n[words]\nleft='左'"
    (tmp_path / "q.toml").write_text(text, "utf-8")
    loaded = open_study(str(tmp_path / "q.toml"), tmp_path)
    assert (loaded.words.left, loaded.words.right, loaded.questions[0].trait) == ("左", "Right", "wärme")
    assert open_study(None, tmp_path) == loaded


def test_answers_to_other_questions_are_not_mixed(tmp_path):
    open_study("ten-items", tmp_path)
    with pytest.raises(UsageError, match="other questions"):
        open_study("first-impressions", tmp_path)


def test_what_was_answered_is_there_after_a_restart(tmp_path):
    with open_answers(tmp_path / FILE) as file:
        running = session(file)
        first = running.next("ann")
        running.answer("ann", first.token, (1.0, None), 5.0, (3.0, 3.0))
        unsent = running.next("ann")
    with open_answers(tmp_path / FILE) as file:
        running = session(file)
        assert [entry.clips for entry in running.answers("ann")] == [first.clips]
        running.answer("ann", unsent.token, (1.0, 1.0), 5.0, ())  # given before the crash, sent after it
        running.answer("ann", unsent.token, (1.0, 1.0), 5.0, ())  # and sent again
        assert [entry.clips for entry in running.answers("ann")] == [first.clips, unsent.clips]


def test_a_torn_last_line_is_cut_and_the_rest_kept(tmp_path):
    with open_answers(tmp_path / FILE) as file:
        answer_all(session(file), "ann", lambda task: (1.0, 1.0), limit=3)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-20])
    with open_answers(tmp_path / FILE) as file:
        assert file.torn > 0
        assert len(file.entries) == 2
        answer_all(session(file), "ann", lambda task: (1.0, 1.0), limit=1)
    assert len(read_answers(tmp_path / FILE)[0]) == 3


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    (tmp_path / FILE).write_bytes(b'{"kind":"consent","rater":"a","at":"x"}\nrubbish\n')
    with pytest.raises(UsageError, match="line 2: damaged"):
        read_answers(tmp_path / FILE)


@pytest.mark.skipif(os.name == "nt", reason="locks inside one process")
def test_two_servers_never_share_a_file(answers, tmp_path):
    with pytest.raises(OutputError, match="another program"), open_answers(tmp_path / FILE):
        pass


def test_a_full_disk_keeps_nothing_of_the_answer_and_says_so(answers, monkeypatch, tmp_path):
    running = session(answers)
    task = running.next("ann")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NotKeptError, match="No space left"):
            running.answer("ann", task.token, (1.0, 1.0), 1.0, ())
    assert (tmp_path / FILE).read_bytes() == b""
    running.answer("ann", task.token, (1.0, 1.0), 1.0, ())
    assert len(read_answers(tmp_path / FILE)[0]) == 1


def test_undo_gives_the_same_clips_again(answers):
    running = session(answers)
    first = running.next("ann")
    running.answer("ann", first.token, (1.0, 1.0), 5.0, ())
    again = running.undo("ann")
    assert again.clips == first.clips
    assert running.next("ann") == again
    running.answer("ann", again.token, (-1.0, -1.0), 5.0, ())
    assert [entry.answers for entry in running.answers("ann")] == [(-1.0, -1.0)]
    assert running.undo("bob") is None


def test_raters_at_once_see_other_pairs_and_nobody_the_same_twice(answers):
    running = session(answers, check_every=0)
    pairs = [frozenset(running.next(rater).clips) for rater in ("ann", "bob", "cid")]
    assert len(set(pairs)) == 3
    count = answer_all(running, "ann", lambda task: (1.0, 1.0))
    assert count == len(CLIPS) * (len(CLIPS) - 1) // 2
    assert max(Counter(frozenset(entry.clips) for entry in running.answers("ann")).values()) == 1


def test_the_goal_of_each_rater_counts_no_checks(answers):
    running = session(answers, answers_each=6, check_every=2)
    assert answer_all(running, "ann", lambda task: (1.0, 1.0)) == 6 + 3
    assert running.describe("ann", running.next("ann")) == {"done": True, "num_done": 6}


def test_a_rater_who_fails_the_checks_is_left_out_and_named(answers, manifest, tmp_path):
    def careful(task):
        told = {"told:left": 1.0, "told:right": -1.0}.get(task.check)
        return (told, told) if told else (1.0, -1.0)

    running = session(answers, check_every=2)
    answer_all(running, "careful", careful, limit=12)
    answer_all(running, "asleep", lambda task: (1.0, 1.0) if task.check != "told:left" else (-1.0, -1.0), limit=12)
    raters = {rater.code: rater for rater in judge_raters(answers.entries, running.study)}
    assert raters["careful"].is_careful
    assert raters["careful"].told_right == raters["careful"].told >= 2
    assert not raters["asleep"].is_careful
    assert raters["careful"].left_share == 0.5
    votes = collect(answers.entries, running.study, CLIPS)
    earnest = [entry for entry in running.answers("careful") if not entry.check]
    assert len(votes) == len(earnest)
    assert votes.choices.tolist() == [[1.0, 1.0]] * len(earnest)  # the second question is reversed
    assert any("asleep,8,4.000" in line for line in _exported(answers, running, manifest, tmp_path, "raters.csv"))


def _exported(answers, running, manifest, folder, name):
    export(answers.entries, running.study, manifest, folder)
    return (folder / name).read_text("utf-8").splitlines()


def test_a_mirrored_repeat_measures_whether_a_rater_agrees_with_themselves(answers):
    running = session(answers, check_every=2)
    order = {clip: place for place, clip in enumerate(CLIPS)}

    def same_always(task):
        left = 1.0 if order[task.clips[0]] < order[task.clips[1]] else -1.0
        return (left, left)

    answer_all(running, "ann", same_always, limit=20)
    assert {entry.check.partition(":")[0] for entry in running.answers("ann")} == {"", "told", "repeat"}
    assert judge_raters(answers.entries, running.study)[0].repeats_agreed == 1.0


def test_consent_comes_first_where_it_is_asked(answers):
    running = session(answers, consent="I take part.")
    with pytest.raises(UsageError, match="agree"):
        running.next("ann")
    running.consent("ann")
    running.consent("ann")
    assert running.next("ann") is not None
    assert [entry.kind for entry in answers.entries] == ["consent"]


@pytest.mark.parametrize("code", ["", "a b", "a/b", "x" * 33, "ann\n"])
def test_a_code_is_letters_and_digits(answers, code):
    with pytest.raises(UsageError):
        session(answers).next(code)


def test_only_invited_codes_take_part_where_they_are_listed(answers):
    running = session(answers, raters=["r1", "r2"])
    assert running.next("r1")
    with pytest.raises(UsageError, match="does not take part"):
        running.next("r3")


def test_names_of_clips_and_tasks_say_nothing_and_cannot_be_made_up(tmp_path):
    secret = load_secret(tmp_path)
    assert load_secret(tmp_path) == secret
    assert oct((tmp_path / "secret.key").stat().st_mode)[-3:] == "600" or os.name == "nt"
    token = clip_token(secret, "anna_angry.mp4")
    assert "anna" not in token
    task = sign(secret, "ann", ("1", "0", "", token))
    assert verify(secret, "ann", task) == ("1", "0", "", token)
    assert verify(secret, "bob", task) is None
    assert verify(secret, "ann", task.replace("~0~", "~1~")) is None
    assert verify(secret, "ann", "~") is None


@pytest.mark.parametrize("values", [(1.0,), (2.0, 1.0), (0.5, 1.0), (float("nan"), 1.0)])
def test_answers_that_do_not_fit_are_refused(answers, values):
    running = session(answers)
    task = running.next("ann")
    with pytest.raises(UsageError):
        running.answer("ann", task.token, values, 1.0, ())


def test_clips_with_the_fewest_ratings_come_first(answers):
    running = session(answers, mode="ratings", check_every=0)
    for rater in ("ann", "bob"):
        answer_all(running, rater, lambda task: (3.0, 5.0), limit=4)
    assert Counter(entry.clips[0] for entry in running.answers()) == dict.fromkeys(CLIPS, 1)
    assert ClipChooser(CLIPS).next((), CLIPS, ()) is None


def test_items_of_a_trait_are_averaged_with_reversed_ones_turned_round(answers, manifest, tmp_path):
    import msgspec

    items = [{"trait": "extraversion"}, {"trait": "extraversion", "reversed": True}]
    asked = msgspec.convert({"title": "t", "mode": "ratings", "check_every": 0, "questions": items}, Study)
    running = Session(asked, CLIPS, answers, SECRET)
    for rater in ("ann", "bob"):
        answer_all(running, rater, lambda task: (1.0 + CLIPS.index(task.clips[0]) % 6, 2.0))
    sheet, _ = export(answers.entries, asked, manifest, tmp_path)
    ratings = load_answers(tmp_path / "ratings.csv")
    wanted = [(1.0 + CLIPS.index(ratings.clips[c]) % 6 + 6.0) / 2 for c in ratings.clip]
    assert ratings.values[:, 0].tolist() == wanted
    assert sheet.targets == ("extraversion",)
    assert load_manifest(tmp_path / "scores.csv").columns["extraversion"]


def test_too_few_answers_for_scores_are_exported_without_them(answers, manifest, tmp_path):
    running = session(answers, mode="ratings")
    answer_all(running, "ann", lambda task: (3.0, 5.0), limit=1)
    export(answers.entries, running.study, manifest, tmp_path)
    assert (tmp_path / "ratings.csv").is_file()
    assert not (tmp_path / "scores.csv").exists()


def test_simulated_raters_give_back_the_order_of_the_clips(answers, manifest, tmp_path):
    """The whole way from pairs to scores, with raters of known noise."""
    rng = np.random.default_rng(0)
    truth = dict(zip(CLIPS, np.linspace(-2, 2, len(CLIPS)), strict=True))
    running = session(answers, answers_each=25, check_every=9)

    def choose(task):
        if task.check.startswith("told"):
            return ((1.0, 1.0), (-1.0, -1.0))[task.check == "told:right"]
        difference = truth[task.clips[0]] - truth[task.clips[1]]
        votes = rng.random(2) < 1 / (1 + np.exp(-2 * difference))
        return tuple(1.0 if vote else -1.0 for vote in votes)

    for rater in ("ann", "bob", "cid", "dan"):
        answer_all(running, rater, choose)
    export(answers.entries, running.study, manifest, tmp_path)
    scores = load_manifest(tmp_path / "scores.csv")
    wanted = [truth[clip] for clip in scores.clips]
    given = np.array(scores.columns["extraversion"], dtype=float)
    assert np.corrcoef(wanted, given)[0, 1] > 0.9
    assert np.corrcoef(wanted, np.array(scores.columns["neuroticism"], dtype=float))[0, 1] < -0.9
    reliability = json.loads((tmp_path / "reliability.json").read_text("utf-8"))
    assert reliability["traits"]["extraversion"]["num_answers"] == 100
    with (tmp_path / "votes.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["left", "right", "extraversion", "neuroticism"]


def test_the_command_says_what_is_missing(manifest, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(rate, [str(tmp_path / "clips.csv"), "--out", str(tmp_path / "study"), *arguments])

    assert "no answers yet" in str(run("--export").exception)
    assert "nor a preset" in str(run("--questions", "none").exception)
    (tmp_path / CLIPS[0]).unlink()
    assert f"such as {CLIPS[0]}" in str(run().exception)
