"""Prediction files of others: the usual spellings are read, and whatever is odd is named by its line."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.errors import ManifestError
from thinslice.evaluate.predictions import PredictionFile, describe, parse_predictions
from thinslice.traits import TARGETS, TRAITS

HEADER = "clip,openness,conscientiousness,extraversion,agreeableness,neuroticism"


def _parse(text: str, encoding: str = "utf-8") -> PredictionFile:
    return parse_predictions(text.encode(encoding), "p.csv")


def _kinds(file: PredictionFile) -> dict[str, tuple[int, ...]]:
    return {problem.kind: problem.lines for problem in file.problems}


def test_the_contract_with_intervals() -> None:
    ends = ",".join(f"{name}_{end}" for name in TARGETS for end in ("low", "high"))
    file = _parse(f"clip,{','.join(TARGETS)},{ends}\na.001.mp4,.1,.2,.3,.4,.5,.6" + ",.05,.95" * 6 + "\n")
    assert file.clips == ("a.001.mp4",)
    assert file.scores[0].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert (file.low[0] == 0.05).all()
    assert (file.high[0] == 0.95).all()
    assert file.has_intervals
    assert file.targets == TARGETS
    assert file.problems == ()


@pytest.mark.parametrize(
    "header",
    [
        "VideoName,ValueOpenness,ValueConscientiousness,ValueExtraversion,ValueAgreeableness,ValueNeurotisicm",
        "video_name;OPENNESS;CONSCIENTIOUSNESS;EXTROVERSION;AGREEABLENESS;NEUROTICISM",
        "file\tO\tC\tE\tA\tN",
        "Path,Openness,Conscientiousness,Extraversion,Agreeableness,Non-Neuroticism",  # OCEAN-AI
        "filename,open,con,ext,agr,neu",
        "clip,pred_openness,pred_conscientiousness,pred_extraversion,pred_agreeableness,pred_emotional_stability",
        "id,openness_pred,conscientiousness_pred,extraversion_pred,agreeableness_pred,neuroticism_pred",
        "clip,Openness (O),Conscientiousness (C),Extraversion (E),Agreeableness (A),Neuroticism (N)",
        ",openness,conscientiousness,extraversion,agreeableness,neuroticism",  # pandas' index
        " clip ,openness score,conscientiousness score,extraversion score,agreeableness score,neuroticism score",
        "sep=;\nclip;o;c;e;a;n",
    ],
)
def test_usual_spellings(header: str) -> None:
    delimiter = next(d for d in "\t;," if d in header)
    file = _parse(header.strip() + "\n" + delimiter.join(["x.001", "0.1", "0.2", "0.3", "0.4", "0.5"]))
    assert file.targets == TRAITS
    assert file.scores[0, :5].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert file.clips == ("x.001",)


def test_other_columns_are_ignored() -> None:
    file = _parse("split,openness_true,clip,openness,video_id,e_mail,once,comment\ntest,.9,a.001,.4,a,.7,.8,hi")
    assert file.targets == ("openness",)
    assert file.scores[0, 0] == 0.4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding: str, end: str) -> None:
    file = _parse(end.join([HEADER, "é.001,.1,.2,.3,.4,.5", "", "b,.1,.2,.3,.4,.5"]) + end, encoding)
    assert file.clips == ("é.001", "b")


def test_decimal_commas_where_commas_do_not_separate() -> None:
    file = _parse("clip;openness;extraversion\na;0,25;0.5")
    assert file.scores[0, [0, 2]].tolist() == [0.25, 0.5]


def test_quoted_cells_and_line_numbers() -> None:
    file = _parse(f'note,{HEADER}\n"two\nlines",a,.1,.2,.3,.4,.5\nx,b,.1,.2,.3,.4,bad\n')
    assert _kinds(file) == {"not_a_number": (4,)}
    assert file.clips == ("a", "b")


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA", "null", "-", "inf", "-Infinity", "1e999"])
def test_missing_scores_are_named(cell: str) -> None:
    file = _parse(f"{HEADER}\na,.1,.2,.3,.4,.5\nb,.1,{cell},.3,.4,.5\n")
    assert np.isnan(file.scores[1, 1])
    assert _kinds(file) == {"no_score": (3,)}
    assert file.problems[0].is_loss
    assert "conscientiousness" in describe(file.problems[0])


def test_out_of_range_is_scored_as_it_is_and_named() -> None:
    file = _parse(f"{HEADER}\na,1.5,.2,.3,.4,.5\nb,.1,.2,.3,.4,.5\nc,-0.1,.2,.3,.4,.5\n")
    assert file.scores[:, 0].tolist() == [1.5, 0.1, -0.1]
    assert _kinds(file) == {"out_of_range": (2, 4)}
    assert not file.problems[0].is_loss
    assert describe(file.problems[0]) == "lines 2, 4: openness is outside [0, 1], such as 1.5; scored as it is"


def test_equal_duplicates_count_once() -> None:
    file = _parse(f"{HEADER}\na.001,.1,.2,.3,.4,.5\nb,.1,.2,.3,.4,.5\ntest/a.001.mp4,.10,.2,.3,.4,.5\n")
    assert file.clips == ("a.001", "b", "test/a.001.mp4")  # a folder may tell clips apart: the match decides
    file = _parse(f"{HEADER}\na.001,.1,.2,.3,.4,.5\nb,.1,.2,.3,.4,.5\na.001.mp4,.10,.2,.3,.4,.5\n")
    assert file.clips == ("a.001", "b")
    assert _kinds(file) == {"duplicate": (2, 4)}
    assert not file.problems[0].is_loss


def test_contradicting_duplicates_count_as_missing() -> None:
    file = _parse(f"{HEADER}\na,.1,.2,.3,.4,.5\nb,.1,.2,.3,.4,.5\na.mp4,.2,.2,.3,.4,.5\n")
    assert file.clips == ("a", "b")
    assert np.isnan(file.scores[0]).all()
    assert _kinds(file) == {"contradiction": (2, 4)}
    assert file.problems[0].is_loss


def test_rows_of_the_wrong_length() -> None:
    file = _parse(f"{HEADER}\na,.1,.2,.3,.4,.5,.6\nb,.1,.2\nc,.1,.2,.3,.4,.5,,\n,.1,.2,.3,.4,.5\nd,.1,.2,.3,.4,.5\n")
    assert file.clips == ("b", "c", "d")
    assert np.isnan(file.scores[0, 2:5]).all()
    bad = {problem.lines: problem.is_loss for problem in file.problems if problem.kind == "bad_row"}
    assert bad == {(2,): True, (3,): False, (5,): True}


def test_useless_interval_columns_are_named() -> None:
    file = _parse("clip,openness,openness_low,extraversion_low,extraversion_high\na,.5,.4,.1,.2")
    assert not file.has_intervals
    assert sorted(describe(problem) for problem in file.problems) == [
        "extraversion_high is not used: there is no extraversion",
        "extraversion_low is not used: there is no extraversion",
        "openness_low is not used: there is no openness_high",
    ]


def test_crossed_intervals_are_named() -> None:
    file = _parse("clip,openness,openness_low,openness_high\na,.5,.6,.4\nb,.5,.4,.6")
    assert _kinds(file) == {"interval": (2,)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"clip,path\na,b\n", "no column is a trait"),
        (b"openness,extraversion\n.1,.2\n", "no column names the clips"),
        (b"clip,openness,O\na,.1,.2\n", "both openness"),
        (b"\x80\x02}q\x00X\x0c\x00\x00\x00extraversion", "not a text file"),
        (b"clip,openness\ncaf\xe9,.1\n", "line 2: not UTF-8"),
        (b'clip,openness\n"a,.1\nb,.2\n', "line 2: not valid CSV"),
        (b"clip,openness\n" + b"x" * 200_000 + b",.1\n", "line 2: not valid CSV"),
    ],
)
def test_files_that_cannot_be_read(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as error:
        parse_predictions(data, "p.csv")
    assert str(error.value).startswith("p.csv")
    assert "\n" not in str(error.value)


def test_header_only() -> None:
    file = _parse(HEADER + "\n")
    assert file.clips == ()
    assert file.scores.shape == (0, 6)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    with suppress(ManifestError):  # anything else would be a traceback for the user
        file = parse_predictions(data, "p.csv")
        assert file.scores.shape == (len(file.clips), 6)


cells = st.sampled_from(["a", "a.mp4", "x/a", "", "0.5", "0,5", "nan", "2", "-1", "abc", '"', "'", "1e5", "\t", "é"])


@given(st.lists(st.lists(cells, min_size=1, max_size=8), max_size=8), st.sampled_from(",;\t"))
def test_no_row_breaks_the_reader(rows: list[list[str]], delimiter: str) -> None:
    header = delimiter.join(["clip", "openness", "openness_low", "openness_high", "extraversion", "note"])
    text = "\n".join([header, *(delimiter.join(row) for row in rows)])
    with suppress(ManifestError):
        file = _parse(text)
        assert len(set(file.clips)) == len(file.clips)
        for problem in file.problems:
            assert all(2 <= line <= len(rows) + 1 for line in problem.lines)
            assert "\n" not in describe(problem)


@given(st.permutations(range(6)), st.permutations(range(5)))
def test_order_of_columns_and_rows_is_irrelevant(columns: list[int], rows: list[int]) -> None:
    table = [HEADER.split(","), *([f"v{i}.00{i}", *(f"0.{i}{k}" for k in range(5))] for i in range(5))]
    shuffled = [[line[c] for c in columns] for line in (table[0], *(table[1 + r] for r in rows))]
    one, other = (_parse("\n".join(map(",".join, lines))) for lines in (table, shuffled))
    where = [other.clips.index(clip) for clip in one.clips]
    assert np.array_equal(one.scores, other.scores[where], equal_nan=True)
