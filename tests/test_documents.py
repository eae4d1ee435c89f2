"""Documents are typed values: what is written comes back, and what is damaged is one line that names the field."""

from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.documents import MAX_BYTES, Document, format_document, load_document, parse_document
from thinslice.errors import BundleError, UsageError


class Measured(Document):
    name: str
    scores: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    note: str | None = None


@given(
    name=st.text(st.characters(exclude_categories=())),  # With lone surrogates, as names that are not UTF-8 have them.
    scores=st.dictionaries(st.text(), st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2)),
    note=st.none() | st.text(),
)
def test_what_is_written_comes_back(name, scores, note) -> None:
    document = Measured(name=name, scores=scores, note=note)
    assert parse_document(format_document(document), Measured) == document
    assert parse_document(format_document(document, indent=1), Measured) == document


def test_numpy_values_and_any_mapping_can_be_written() -> None:
    values = {"a": np.float32(0.5), "b": np.arange(2), "c": MappingProxyType({"d": np.int64(3)})}
    assert parse_document(format_document(values), dict) == {"a": 0.5, "b": [0, 1], "c": {"d": 3}}
    with pytest.raises(TypeError, match="cannot stand in a document"):
        format_document({"a": Path()})
    with pytest.raises(ValueError):
        format_document({"a": np.nan})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1 column 1"),
        ("[]", "Expected `object`, got `array`"),
        ("null", "Expected `object`, got `null`"),
        ('{"name": 3}', r"Expected `str`, got `int` - at `\$.name`"),
        ('{"scores": {}}', "missing required field `name`"),
        ('{"name": "a", "extra": 1}', "unknown field `extra`"),
        ('{"name": "a", "scores": {"x": [1, NaN]}}', "NaN is not"),
        ('{"name": "a", "scores": {"x": [1, -Infinity]}}', "-Infinity is not"),
        ('{"name": "a", "scores": {"x": [1, 1e999]}}', "1e999 is not a finite number"),
        ('{"name": "a", "scores": {"x": [1]}}', "length 2"),
        (b'{"name": "\xff"}', "can't decode byte 0xff"),
        ("[" * 100_000, "nested too deeply"),
        ('{"name": "a", "scores": {"x": [1, 1' + "0" * 400 + "]}}", "out of range"),
    ],
)
def test_a_damaged_document_is_one_line_with_the_reason_and_the_remedy(tmp_path: Path, text, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_document(text, Measured)
    path = tmp_path / "document.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match=reason) as caught:
        load_document(path, Measured, "install it again", BundleError)
    assert str(caught.value).startswith(f"{path}: damaged (")
    assert str(caught.value).endswith("; install it again")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(UsageError, match="no such file; start again"):
            load_document(path, Measured, "start again")
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UsageError, match="over 64 MB; start again"):
        load_document(large, Measured, "start again")
