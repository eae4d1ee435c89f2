"""Names of targets, the traits' and one's own: what is allowed, averaged, and recognised in a table's header."""

import pytest

from thinslice.errors import UsageError
from thinslice.evaluate.spellings import target_of
from thinslice.targets import averaged, in_order, parse_targets, poles_of
from thinslice.traits import TARGETS, TRAITS


def test_targets_are_named_once_each_and_never_as_other_columns() -> None:
    assert parse_targets(" warmth, competence ") == ("warmth", "competence")
    for text in (
        "",
        " , ",
        "clip",
        "warmth_low",
        "warmth_error",
        "7up",
        "a b",
        "average",
        "warmth,Warmth",
        "süß",
        "x/y",
    ):
        with pytest.raises(UsageError, match="--targets"):
            parse_targets(text)
    with pytest.raises(UsageError, match="65 targets; at most 64"):
        parse_targets(",".join(f"t{k}" for k in range(65)))


def test_the_average_is_over_the_five_or_over_what_there_is() -> None:
    assert averaged(TARGETS) == averaged((*TARGETS, "warmth")) == TRAITS
    assert averaged(("warmth", "competence")) == ("warmth", "competence")
    assert averaged(("extraversion", "interview", "warmth")) == ("extraversion", "warmth")
    assert averaged(("interview",)) == ("interview",)


def test_targets_are_shown_in_one_order() -> None:
    assert in_order(("warmth", "interview", "openness")) == ("openness", "interview", "warmth")
    assert poles_of("warmth") == ("low", "high")
    assert poles_of("neuroticism") == ("uneasy", "comfortable")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Warmth", ("warmth", "")),
        ("pred_warmth", ("warmth", "")),
        ("warmth_low", ("warmth", "low")),
        ("high_score", ("high_score", "")),  # a target's own name goes before what its words mean
        ("Openness", ("openness", "")),
        ("o", ("openness", "")),
        ("extraversion", None),
        ("warm", None),
    ],
)
def test_headers_are_matched_with_the_targets_wanted(header: str, found: tuple[str, str] | None) -> None:
    assert target_of(header, ("warmth", "high_score", "openness")) == found
