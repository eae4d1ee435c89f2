"""The manifest: what it accepts, what it refuses and how it says so, and that nothing is lost on the way."""

import csv
import dataclasses
import os
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thinslice.data.manifest import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Manifest,
    concat,
    load_manifest,
    normalise_clip,
    save_manifest,
    speaker_of,
)
from thinslice.data.table import MAX_CELL_CHARS, parse_table
from thinslice.errors import ManifestError, OutputError
from thinslice.traits import TARGETS, TRAITS

HEADER = "clip,path,split,speaker"


def _file(tmp_path: Path, text: str | bytes, name: str = "m.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _manifest(num_clips: int = 3, **columns: tuple[str, ...]) -> Manifest:
    return Manifest(
        clips=tuple(f"v{i}.000.mp4" for i in range(num_clips)),
        paths=tuple(f"clips/v{i}.000.mp4" for i in range(num_clips)),
        splits=("train",) * num_clips,
        speakers=tuple(f"v{i}" for i in range(num_clips)),
        columns=columns,
    )


def test_a_manifest_is_read_as_written(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        f'{HEADER},transcript,openness,gender\na.mp4,x/a.mp4,train,a,"Hi, ""you""\n",0.5,\nb.mp4,,test,b, ,,f\n',
    )
    manifest = load_manifest(path)
    assert manifest.clips == ("a.mp4", "b.mp4")
    assert manifest.splits == ("train", "test")
    assert manifest.columns["transcript"] == ('Hi, "you"\n', " ")
    assert manifest.path(0) == tmp_path / "x" / "a.mp4"
    assert len(manifest) == 2
    assert manifest.warnings == ()
    labels = manifest.labels()
    assert labels.shape == (2, len(TARGETS))
    assert labels.dtype == np.float64
    assert labels[0, 0] == 0.5
    assert np.isnan(labels).sum() == 2 * len(TARGETS) - 1
    assert list(manifest.column("gender")) == ["", "f"]
    assert manifest.where(1) == f"{path}, line 4"
    with pytest.raises(ManifestError, match=r"m\.csv, line 4: no media is known for b\.mp4"):
        manifest.path(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "m.csv: empty"),
        (b"\n\n \n", "m.csv: empty"),
        ("clip,path,split\n", "line 1: no column speaker; found clip, path, split"),
        ('"a\nb",c\n', "line 1: no columns clip, path, split, speaker; found a b, c"),
        ("a,b\n1,2\n", "line 1: no columns clip, path, split, speaker"),
        ("clip;path;split;speaker\na;b;c;d\n", "line 1: columns are separated by semicolons"),
        ("clip\tpath\tsplit\tspeaker\n", "line 1: columns are separated by tabs"),
        (f"{HEADER},openness,openness\n", "line 1: column 'openness' is listed twice"),
        (f"{HEADER},\n", "line 1: a column has no name"),
        (f"{HEADER}\na,b,train\n", "line 2: 3 cells where the header has 4 columns"),
        (f"{HEADER}\na,b,train,s,x\n", "line 2: 5 cells where the header has 4 columns"),
        (f"{HEADER}\n,b,train,s\n", "line 2: clip is empty"),
        (f"{HEADER}\na,b,,s\n", "line 2: split is empty"),
        (f"{HEADER}\na,b,train, \n", "line 2: speaker is empty"),
        (f"{HEADER}\n a,b,train,s\n", "line 2: clip ' a' has blanks around it"),
        (f'{HEADER}\n"a\nb",b,train,s\n', r"line 2: clip 'a\nb' has blanks around it or a control character"),
        (f'{HEADER}\na,"b\nc",train,s\n', r"line 2: path 'b\nc' holds a control character"),
        (f"{HEADER}\na,b,train,s\n\na,c,test,s\n", "line 4: clip a is listed twice, first at "),
        (f"{HEADER}\na.mp4,b,train,s\na,c,test,s\n", "line 3: clip a is listed twice"),
        (f"{HEADER}\na.MP4,b,train,s\na.mp4,c,test,s\n", "line 3: clip a.mp4 is listed twice"),
        (f"{HEADER},openness\na,b,train,s,1.01\n", "line 2: openness is 1.01, outside [0, 1]"),
        (f"{HEADER},openness\na,b,train,s,-0.01\n", "line 2: openness is -0.01, outside [0, 1]"),
        (f"{HEADER},interview\na,b,train,s,1e999\n", "line 2: interview is 1e999, outside [0, 1]"),
        (f"{HEADER},valence\na,b,train,s,-1.5\n", "line 2: valence is -1.5, outside [-1, 1]"),
        (f"{HEADER},openness\na,b,train,s,nan\n", "line 2: openness is 'nan', not a number; leave it empty"),
        (f"{HEADER},openness\na,b,train,s,inf\n", "line 2: openness is 'inf', not a number"),
        (f"{HEADER},openness\na,b,train,s,1_0\n", "line 2: openness is '1_0', not a number"),
        (f'{HEADER},openness\na,b,train,s,"0,5"\n', "line 2: openness is '0,5', not a number"),
        (f"{HEADER},openness\na,b,train,s,٠\n", "line 2: openness is '٠', not a number"),
        (f'{HEADER},transcript\na,b,train,s,"x\ny"\nc,d,train,s,"open\n', "line 4: not valid CSV"),
        (f'{HEADER},transcript\na,b,train,s,"x"y\n', "line 2: not valid CSV"),
        (
            f"{HEADER},transcript\na,b,train,s,{'x' * (MAX_CELL_CHARS + 1)}\n",
            "line 2: not valid CSV (field larger",
        ),
        (f"{HEADER}\na,b,train,s\nc\xe9,d,train,s\n".encode("latin-1"), "line 3: byte 0xe9 is not UTF-8"),
        (f"{HEADER}\n".encode("utf-16"), "m.csv: saved as UTF-16"),
    ],
)
def test_every_mistake_is_named_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.csv: no such file"):
        load_manifest(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_order_mark_and_line_ends_do_not_matter(tmp_path: Path, bom: bytes, end: bytes) -> None:
    lines = [b"clip, path ,split,speaker,openness", "é.mp4,p,train,s, 0.25 ".encode(), b"", b",,,,"]
    manifest = load_manifest(_file(tmp_path, bom + end.join(lines) + end))
    assert manifest.clips == ("é.mp4",)
    assert manifest.labels(["openness"]).tolist() == [[0.25]]


def test_newlines_inside_transcripts_are_verbatim_and_lines_count_on(tmp_path: Path) -> None:
    text = f'{HEADER},transcript\r\na,b,train,s,"1\r\n2\n3\r4"\r\nb,b,train,s,\r\nb,b,train,s,\r\n'
    with pytest.raises(ManifestError, match=r"line 7: clip b is listed twice, first at .*line 6"):
        load_manifest(_file(tmp_path, text))
    manifest = load_manifest(_file(tmp_path, text.rpartition("b,b")[0]))
    assert manifest.columns["transcript"][0] == "1\r\n2\n3\r4"


def test_odd_but_allowed_things_are_warned_of(tmp_path: Path) -> None:
    manifest = load_manifest(_file(tmp_path, f"{HEADER},Opennes,likeability\na,b,Training,s,x,2\n"))
    assert [line.partition(": ")[2] for line in manifest.warnings] == [
        "unknown column Opennes; did you mean openness?",
        "unknown column likeability; kept as text, or taken with --targets",
        "split Training is not the official train",
    ]
    assert list(manifest.column("likeability")) == ["2"]


def test_what_code_builds_is_checked_too() -> None:
    good = _manifest(2)
    with pytest.raises(ManifestError, match="column gender has 1 rows where clip has 2"):
        dataclasses.replace(good, columns={"gender": ("f",)})
    with pytest.raises(ManifestError, match=r"clip v0\.000\.mp4: openness is 2, outside"):
        dataclasses.replace(good, columns={"openness": ("2", "")})
    with pytest.raises(ManifestError, match="'split' cannot be the name of an optional column"):
        dataclasses.replace(good, columns={"split": ("a", "b")})
    with pytest.raises(ManifestError, match="1 line numbers for 2 rows"):
        dataclasses.replace(good, lines=(2,))
    with pytest.raises(ManifestError, match="charm is no label"):
        good.labels(["charm"])
    with pytest.raises(ManifestError, match="no column charm; there are clip, path, split, speaker"):
        good.column("charm")


def test_select_by_split_mask_and_rows() -> None:
    manifest = dataclasses.replace(_manifest(4, openness=("0", "0.1", "", "1")), splits=("train", "test") * 2)
    assert manifest.select("test").clips == ("v1.000.mp4", "v3.000.mp4")
    mask = np.array([True, False, False, True])
    assert manifest.select(mask).columns["openness"] == ("0", "1")
    assert manifest.select(manifest.column("split") == "train").clips == ("v0.000.mp4", "v2.000.mp4")
    assert manifest.select([3, 0]).clips == ("v3.000.mp4", "v0.000.mp4")
    assert len(manifest.select(np.zeros(4, bool))) == 0
    assert len(manifest.select([])) == 0
    for wrong in ("validation", mask[:3], [4], [-1], [0, 0], [0.5], mask[None]):
        with pytest.raises(ManifestError):
            manifest.select(wrong)


def test_selected_rows_still_know_their_lines(tmp_path: Path) -> None:
    manifest = load_manifest(_file(tmp_path, f"{HEADER}\na,,train,s\nb,,test,s\n")).select("test")
    assert manifest.where(0).endswith("m.csv, line 3")


def test_digest_is_of_content(tmp_path: Path) -> None:
    manifest = _manifest(3, openness=("0.5", "0.25", ""), transcript=("a", "", "c"))
    digest = manifest.digest
    assert len(digest) == 64
    same = [
        manifest.select([2, 0, 1]),
        dataclasses.replace(manifest, columns=dict(reversed(manifest.columns.items()))),
        dataclasses.replace(manifest, columns={**manifest.columns, "gender": ("",) * 3}),
        dataclasses.replace(manifest, columns={**manifest.columns, "openness": ("0.50", " 2.5e-1", " ")}),
        dataclasses.replace(manifest, paths=("", "/x", "y"), folder=tmp_path),
    ]
    assert {m.digest for m in same} == {digest}
    different = [
        manifest.select([0, 1]),
        dataclasses.replace(manifest, splits=("train", "train", "test")),
        dataclasses.replace(manifest, speakers=("v0", "v0", "v2")),
        dataclasses.replace(manifest, columns={**manifest.columns, "openness": ("0.5", "0.25", "0")}),
        dataclasses.replace(manifest, columns={**manifest.columns, "transcript": ("a", " ", "c")}),
        dataclasses.replace(manifest, columns={"openness": ("0.5", "0.25", ""), "gender": ("a", "", "c")}),
    ]
    assert len({m.digest for m in different} | {digest}) == len(different) + 1


def test_minus_zero_is_zero_in_the_digest() -> None:
    assert _manifest(1, valence=("-0",)).digest == _manifest(1, valence=("0.0",)).digest


def test_paths_lead_to_the_same_files_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "clips").mkdir(parents=True)
    (tmp_path / "a" / "clips" / "x.mp4").write_bytes(b"x")
    first = load_manifest(_file(tmp_path / "a", f"{HEADER}\nx,clips/x.mp4,train,s\ny,,train,s\nz,/abs/z.mp4,train,s\n"))
    save_manifest(first, tmp_path / "b" / "deep" / "m.csv")
    second = load_manifest(tmp_path / "b" / "deep" / "m.csv")
    assert second.paths == ("../../a/clips/x.mp4", "", "/abs/z.mp4")
    assert second.path(0).read_bytes() == b"x"
    joined = concat([second, dataclasses.replace(first.select([0]), clips=("x2",))])
    assert joined.paths[3] == "../../a/clips/x.mp4"
    assert joined.path(3).resolve() == first.path(0).resolve()


def test_concat() -> None:
    first, second = _manifest(1, openness=("0.5",)), _manifest(2, gender=("f", "m")).select([1])
    joined = concat([first, second])
    assert joined.clips == ("v0.000.mp4", "v1.000.mp4")
    assert joined.columns == {"openness": ("0.5", ""), "gender": ("", "m")}
    with pytest.raises(ManifestError, match=r"clip v0\.000 is in manifest and in other"):
        concat([first, dataclasses.replace(first, clips=("v0.000",), source="other")])
    with pytest.raises(ManifestError, match="no manifest"):
        concat([])


def test_saving_is_atomic_and_follows_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.csv"
    save_manifest(_manifest(1), target)
    before = target.read_bytes()
    (tmp_path / "link.csv").symlink_to(target)
    save_manifest(_manifest(2), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert target.read_bytes() != before
    before = target.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"m\.csv: cannot be written \(No space left on device\)"):
        save_manifest(_manifest(3), target)
    assert target.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.csv", "m.csv"]
    with pytest.raises(OutputError, match="is a folder; name a file"):
        save_manifest(_manifest(3), tmp_path)


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="longer than"):
        save_manifest(_manifest(1, transcript=("x" * (MAX_CELL_CHARS + 1),)), tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="is no character"):
        save_manifest(_manifest(1, transcript=("\ud800",)), tmp_path / "m.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("clip", "name", "speaker"),
    [
        ("--Ymqszjv54.001.mp4", "--Ymqszjv54.001", "--Ymqszjv54"),
        ("--Ymqszjv54.001", "--Ymqszjv54.001", "--Ymqszjv54"),
        ("a.b.002.MP4", "a.b.002", "a.b"),
        ("x.003.mov", "x.003.mov", "x"),
        ("john.mp4", "john", "john"),
        ("john", "john", "john"),
        (".mp4", "", ".mp4"),
    ],
)
def test_names(clip: str, name: str, speaker: str) -> None:
    assert normalise_clip(clip) == name
    assert speaker_of(clip) == speaker


_hostile = st.text(
    st.one_of(
        st.sampled_from(list(",;\"'\r\n\t\0\\=|\ufeff\u2028\x85\u00a0 ") + list(string.ascii_letters)),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=30,
)
_plain = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda s: s.strip() == s and s.strip()
)
_score = st.one_of(st.just(""), st.floats(0, 1).map(repr))


@st.composite
def _manifests(draw: st.DrawFn) -> Manifest:
    clips = draw(st.lists(_plain, max_size=6, unique_by=normalise_clip))
    n = len(clips)

    def cells(values: st.SearchStrategy[str]) -> tuple[str, ...]:
        return tuple(draw(st.lists(values, min_size=n, max_size=n)))

    texts = draw(st.sets(st.sampled_from(["transcript", "gender", "ethnicity", 'my own, "column"'])))
    columns = {name: cells(_hostile) for name in sorted(texts)}
    columns |= {name: cells(_score) for name in draw(st.sets(st.sampled_from(TARGETS)))}
    paths = cells(st.one_of(st.just(""), _plain))
    return Manifest(tuple(clips), paths, cells(_plain), cells(_plain), columns)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_manifests())
def test_a_round_trip_keeps_hostile_text(tmp_path: Path, manifest: Manifest) -> None:
    manifest = dataclasses.replace(manifest, folder=tmp_path)
    save_manifest(manifest, tmp_path / "m.csv")
    back = load_manifest(tmp_path / "m.csv")
    for name in ("clips", "paths", "splits", "speakers"):
        assert getattr(back, name) == getattr(manifest, name)
    assert dict(back.columns) == dict(manifest.columns)
    assert back.digest == manifest.digest
    np.testing.assert_array_equal(back.labels(), manifest.labels())
    # and any other reader sees the same cells
    with open(tmp_path / "m.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == list(manifest.clips)
    # saved again, the bytes are the same
    first = (tmp_path / "m.csv").read_bytes()
    save_manifest(back, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_bytes() == first


@settings(max_examples=500)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_table_or_one_clear_line(data: bytes, with_header: bool) -> None:
    data = HEADER.encode() + b"\n" + data if with_header else data
    try:
        table = parse_table(data, "file.csv", REQUIRED_COLUMNS)
    except ManifestError as error:
        message = str(error)
    else:
        assert all(len(row) == len(table.header) for row in table.rows)
        assert len(table.rows) == len(table.lines)
        return
    assert message.startswith("file.csv")
    assert "\n" not in message


def test_columns_are_written_in_the_usual_order(tmp_path: Path) -> None:
    columns = dict.fromkeys(["own", *reversed(OPTIONAL_COLUMNS)], ("",))
    save_manifest(_manifest(1, **columns), tmp_path / "m.csv")
    header = (tmp_path / "m.csv").read_text().splitlines()[0].split(",")
    assert header == [*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, "own"]
    assert header[5:11] == [*TRAITS, "interview"]
