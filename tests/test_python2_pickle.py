"""Annotation pickles: official ones are read exactly, hostile ones are refused without running anything."""

import collections
import copyreg
import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinslice.errors import ManifestError
from thinslice.formats import python2_pickle
from thinslice.formats.python2_pickle import load_annotations, load_transcripts, parse_annotations, parse_transcripts
from thinslice.traits import TARGETS

TRAIT_PICKLE = b"}X\x08\x00\x00\x00openness}X\x01\x00\x00\x00a"  # {"openness": {"a": <next>
END = b"ss."


def _annotations(value: bytes) -> bytes:
    """A pickle of {"openness": {"a": value}} whose innermost value is given as instructions."""
    return b"\x80\x02" + TRAIT_PICKLE + value + END


def test_official_annotations_are_read_exactly_as_pickle_would(real_data: Path) -> None:
    path = real_data / "annotation_training.pkl"
    with open(path, "rb") as file:
        expected = pickle.load(file, encoding="latin1")
    found = load_annotations(path)
    assert found == expected
    assert tuple(found) == TARGETS
    assert {type(value) for labels in found.values() for value in labels.values()} == {float}
    assert len(found["interview"]) == 6000


def test_official_transcripts_are_read_exactly_as_pickle_would(real_data: Path) -> None:
    path = real_data / "transcription_training.pkl"
    with open(path, "rb") as file:
        assert load_transcripts(path) == pickle.load(file, encoding="latin1")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_and_numpy_scalar(protocol: int) -> None:
    values: dict[str, Any] = {"a": 0.25, "b": np.float64(0.5), "c": np.float32(0.75), "d": 1, "e": np.int64(0)}
    values |= {"f": np.uint8(1), "g": np.float16(0.125), "h": np.float64(0.1), "é": np.array(0.3, ">f8")[()]}
    found = parse_annotations(pickle.dumps({"openness": values}, protocol), "x.pkl")
    assert found == {"openness": {key: float(value) for key, value in values.items()}}
    texts = {"a.mp4": "é…\n'\"\\ \0", "b.mp4": "", "c" * 300: "x" * 70000}
    assert parse_transcripts(pickle.dumps(texts, protocol), "x.pkl") == texts


def test_python_2_text_is_latin_1() -> None:
    # What Python 2.7 writes for {'caf\xe9': 'na\xefve'} under protocols 2 and 1, and for {'a': 'b'} under 0.
    assert parse_transcripts(b"\x80\x02}q\x00U\x04caf\xe9q\x01U\x05na\xefveq\x02s.", "x") == {"café": "naïve"}
    assert parse_transcripts(b"}q\x00U\x04caf\xe9q\x01U\x05na\xefveq\x02s.", "x") == {"café": "naïve"}
    assert parse_transcripts(b"(dp0\nS'a'\np1\nS'b'\np2\ns.", "x") == {"a": "b"}


def test_a_big_endian_scalar_of_python_2() -> None:
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    scalar = b"cnumpy.core.multiarray\nscalar\n" + dtype + b"U\x08" + struct.pack(">d", 0.375) + b"\x86R"
    assert parse_annotations(_annotations(scalar), "x") == {"openness": {"a": 0.375}}


def test_the_misspelt_variable_is_known() -> None:
    assert parse_annotations(pickle.dumps({"neurotisicm": {"a": 0.5}}), "x") == {"neuroticism": {"a": 0.5}}
    both = {"neurotisicm": {"a": 0.5}, "neuroticism": {"a": 0.5}}
    with pytest.raises(ManifestError, match="neuroticism is listed twice"):
        parse_annotations(pickle.dumps(both), "x")


class _Reduce:
    """Pickles as a call of anything."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def _touch(path: Path) -> str:
    return f"touch '{path}'"


def _working_payloads(path: Path) -> dict[str, bytes]:
    """Pickles that, under `pickle.loads`, make a file appear at `path`; each does so in another way."""
    command = _touch(path).encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    code = f"open({str(path)!r}, 'w').close()"
    out = {
        f"REDUCE of os.system, protocol {protocol}": pickle.dumps(
            {"openness": {"a": _Reduce(os.system, _touch(path))}}, protocol
        )
        for protocol in range(6)
    }
    out |= {
        "builtins eval": pickle.dumps({"openness": _Reduce(eval, code)}, 2),
        "builtins exec as a key's neighbour": pickle.dumps({"openness": {"a": 0.5}, "x": _Reduce(exec, code)}, 4),
        "GLOBAL": b"cos\nsystem\n(" + text + b"tR.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "STACK_GLOBAL from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93" + text + b"\x85R.",
        "INST": b"(S'" + command.replace(b"'", b"\\'") + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + text + b"o.",
        "a dropped call": b"cos\nsystem\n" + text + b"\x85R0" + b"}.",
        "a popped call before honest labels": b"cos\nsystem\n" + text + b"\x85R0" + pickle.dumps({"openness": {}}, 1),
        "getattr chain": pickle.dumps(_Reduce(getattr(os, "system"), _touch(path)), 4),  # noqa: B009
        "dotted name under protocol 4": b"\x80\x04\x8c\x08builtins\x8c\x0d__dict__.copy\x93)R0"
        b"\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "NumPy's own exec": b"\x80\x04\x8c\x1cnumpy.testing._private.utils\x8c\x09runstring\x93X"
        + struct.pack("<I", len(code))
        + code.encode()
        + b"}\x86R.",
    }
    return out


def test_payloads_that_pickle_would_run_are_refused_and_do_not_run(tmp_path: Path) -> None:
    ran = []
    for name, payload in _working_payloads(tmp_path / "proof").items():
        proof = tmp_path / "proof"
        for parse in (parse_annotations, parse_transcripts):
            with pytest.raises(ManifestError) as caught:
                parse(payload, "evil.pkl")
            assert "evil.pkl: refused, it holds the" in str(caught.value), name
            assert "\n" not in str(caught.value)
        assert not proof.exists(), name
        try:
            pickle.loads(payload)
        except Exception as error:
            raise AssertionError(f"{name} is no real payload: {error}") from error
        if proof.exists():
            ran.append(name)
            proof.unlink()
    assert ran == list(_working_payloads(tmp_path / "proof")), "a payload that pickle does not run proves nothing"


def test_a_persistent_id_is_refused() -> None:
    for payload in (b"Pevil\n.", b"X\x04\x00\x00\x00evilQ."):
        with pytest.raises(ManifestError, match=r"refused, it holds the instruction (BIN)?PERSID"):
            parse_annotations(payload, "evil.pkl")


def test_extension_codes_are_refused_even_when_registered(tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 200)
    try:
        command = _touch(tmp_path / "proof").encode()
        text = b"U" + bytes([len(command)]) + command
        for code in (b"\x82\xc8", b"\x83\xc8\x00", b"\x84\xc8\x00\x00\x00"):
            with pytest.raises(ManifestError, match="refused, it holds the instruction EXT"):
                parse_annotations(b"\x80\x02" + code + text + b"\x85R.", "evil.pkl")
        assert not (tmp_path / "proof").exists()
        pickle.loads(b"\x80\x02\x82\xc8" + text + b"\x85R.")
        assert (tmp_path / "proof").exists()
    finally:
        copyreg.remove_extension("os", "system", 200)


def _numpy_objects() -> dict[str, bytes]:
    array = np.array([{"a": 1}], dtype=object)
    return {
        "an object array through _reconstruct": pickle.dumps(array, 2),
        "a plain array": pickle.dumps({"openness": {"a": np.zeros(3)}}, 2),
        "an array under protocol 5": pickle.dumps({"openness": {"a": np.zeros(3)}}, 5),
        "a text scalar": pickle.dumps({"openness": {"a": np.str_("x")}}, 2),
        "a structured scalar": pickle.dumps({"openness": {"a": np.zeros(1, "f8,i4")[0]}}, 2),
        "a date": pickle.dumps({"openness": {"a": np.datetime64("2016-01-01")}}, 2),
        "a complex number": pickle.dumps({"openness": {"a": np.complex128(1)}}, 2),
        "a dtype of objects": _annotations(b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"),
        "an object scalar, which is a pointer": _annotations(
            b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02O8K\x00K\x01tRU\x08AAAAAAAAtR"
        ),
        "a comma string as dtype": _annotations(b"cnumpy\ndtype\n(U\x05f8,f8K\x00K\x01tR"),
        "numpy.load": _annotations(b"cnumpy\nload\n(U\x0b/etc/passwdtR"),
        "a dtype itself as value": _annotations(b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR"),
        "a function as value": _annotations(b"cnumpy\ndtype\n"),
    }


@pytest.mark.parametrize("name", _numpy_objects())
def test_of_numpy_only_scalars_that_are_numbers(name: str) -> None:
    with pytest.raises(ManifestError, match=r"^evil\.pkl: refused, it holds"):
        parse_annotations(_numpy_objects()[name], "evil.pkl")


@pytest.mark.parametrize(
    "payload",
    [
        # BUILD on a dictionary, on a name (would set attributes of a numpy function), on a dtype with fields and
        # metadata, on a scalar
        b"}}X\x01\x00\x00\x00aK\x01sb.",
        b"cnumpy\ndtype\n}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xsb.",
        _annotations(b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR}b"),
        _annotations(b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<N}U\x01a}sJ\xff\xff\xff\xffK\x01K\x00tb"),
        _annotations(b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<)NNJ\xff\xff\xff\xffK\x01K\x00tb"),
        _annotations(b"G?\xe0\x00\x00\x00\x00\x00\x00}b"),
        # calls of things that are no names
        b"}}\x85R.",
        b"X\x02\x00\x00\x00os)R.",
        b"cnumpy\ndtype\n}R.",
        # other classes of the standard library, and other containers
        pickle.dumps(collections.OrderedDict(openness={"a": 0.5}), 2),
        pickle.dumps({"openness": {"a": [0.5]}}, 2),
        pickle.dumps({"openness": {"a": {0.5}}}, 4),
        pickle.dumps({"openness": {"a": bytearray(b"x")}}, 5),
        pickle.dumps({"openness": {"a": 2**5000}}, 2),
        pickle.dumps({"openness": {1: 0.5}}, 2),
        pickle.dumps({("openness",): {"a": 0.5}}, 2),
        pickle.dumps({"openness": {"a": b"\xff"}}, 2).replace(b"latin1", b"rot_13"),
        b"]}a.",
    ],
)
def test_everything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(ManifestError, match=r"^evil\.pkl: refused, it holds"):
        parse_annotations(payload, "evil.pkl")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "holds 7 where a dictionary of variables belongs"),
        ({}, "no labels in it"),
        ({"openness": 0.5}, "holds 0.5 where a dictionary of labels of openness belongs"),
        ({"charm": {"a": 0.5}}, "'charm' is none of openness"),
        ({"openness": {"a.mp4": 1.5}}, "openness of 'a.mp4' is 1.5, no number in [0, 1]"),
        ({"openness": {"a": float("nan")}}, "openness of 'a' is nan, no number in [0, 1]"),
        ({"openness": {"a": float("inf")}}, "openness of 'a' is inf, no number"),
        ({"openness": {"a": 10**300}}, "openness of 'a' is 1000"),
        ({"openness": {"a": True}}, "openness of 'a' is True, no number"),
        ({"openness": {"a": None}}, "openness of 'a' is None, no number"),
        ({"openness": {"a": "x" * 999}}, "...,"),
        ({"openness": {"a": (0.5,)}}, "openness of 'a' is a tuple, no number"),
    ],
)
def test_wrong_content_is_named(value: Any, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_annotations(pickle.dumps(value, 2), "a.pkl")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200
    with pytest.raises(ManifestError, match=r"the transcript of 'a' is 3, not text"):
        parse_transcripts(pickle.dumps({"a": 3}), "a.pkl")


def _nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02}" + b"r\xff\xff\xff\xff.",  # a memo index that makes the C unpickler reserve 64 GiB
        b"\x80\x02" + b"}" * 2_000_000 + b".",
        b"\x80\x02(" * 2_000_000 + b".",
        b")" + b"\x85" * 3_999_000 + b".",
        b"}" + b")" + b"\x85" * 1_000_000 + b"K\x01s.",  # hashing this key would overflow the C stack
        b"]" * 1_000_000 + b"a" * 999_999 + b".",
        b"(" + b"h\x00" * 3_000_000 + b"t.",
        b"}q\x00" + b"h\x00" * 3_000_000 + b".",
        b"\x80\x04}\x94" + b"\x86\x94" * 100 + b".",
        b"}" + b"X\x01\x00\x00\x00a}" * 500_000 + b"s" * 500_000 + b".",
        b"K\x01" + b"q\x000h\x00" * 1_500_000 + b".",
        b"\x8b\xff\xff\xff\x7f.",  # LONG4 of 2 GiB that are not there
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BINBYTES8 likewise
        b"X\xff\xff\xff\xff.",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xff}.",
        b"I" + b"9" * 1_000_000 + b"\n.",
    ],
    ids=range(16),
)
def test_bombs_end_in_one_line(payload: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_annotations(payload, "bomb.pkl")
    assert str(caught.value).startswith("bomb.pkl: ")
    assert len(str(caught.value)) < 300


def test_bounds_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"openness": {"a": 0.5}}, 2))
    assert load_annotations(tmp_path / "a.pkl") == {"openness": {"a": 0.5}}
    monkeypatch.setattr(python2_pickle, "MAX_BYTES", 20)
    with pytest.raises(ManifestError, match="too many for an annotation file"):
        load_annotations(tmp_path / "a.pkl")
    with pytest.raises(ManifestError, match=r"b\.pkl: no such file"):
        load_transcripts(tmp_path / "b.pkl")
    (tmp_path / "b.pkl").touch()
    with pytest.raises(ManifestError, match=r"b\.pkl: empty"):
        load_transcripts(tmp_path / "b.pkl")
    with pytest.raises(ManifestError, match="cannot be read"):
        load_transcripts(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html>",
        b"PK\x03\x04",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x1f\x8b\x08",
        b".",
        b"}}.",
        b"}.}.",
    ],
)
def test_what_is_no_pickle(data: bytes) -> None:
    with pytest.raises(ManifestError, match=r"^a\.pkl: "):
        parse_annotations(data, "a.pkl")


def test_a_truncated_file_at_any_point() -> None:
    whole = pickle.dumps({"openness": {"a": np.float64(0.5), "b": 0.25}, "interview": {"a": 1}}, 2)
    for end in range(len(whole)):
        with pytest.raises(ManifestError, match=r"^cut\.pkl: "):
            parse_annotations(whole[:end], "cut.pkl")


def test_a_truncated_official_file(real_data: Path) -> None:
    whole = (real_data / "annotation_training.pkl").read_bytes()
    with pytest.raises(ManifestError, match=r"cut\.pkl: not a pickle, or a damaged one"):
        parse_annotations(whole[: len(whole) // 2], "cut.pkl")


@settings(max_examples=400)
@given(st.binary(max_size=120))
def test_any_bytes_end_in_one_line(data: bytes) -> None:
    for parse in (parse_annotations, parse_transcripts):
        with pytest.raises(ManifestError) as caught:
            parse(b"(" + data, "x.pkl")  # a mark stays below whatever follows: nothing valid begins so
        assert "\n" not in str(caught.value)


def test_damaged_official_bytes_are_read_or_refused_never_run() -> None:
    rng = random.Random(7)
    value = {"openness": {f"v{i}.000.mp4": np.float64(i / 50) for i in range(50)}, "interview": {"a": 0.5}}
    whole = pickle.dumps(value, 2)
    outcomes = collections.Counter[str]()
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            parse_annotations(bytes(damaged), "x.pkl")
        except ManifestError as error:
            outcomes["refused"] += 1
            message = str(error)
        else:
            outcomes["read"] += 1
            continue
        assert "\n" not in message
    assert outcomes["refused"] > 100
    assert outcomes["read"] > 100
