"""What columns of tables are called, in any spelling: traits, targets of one's own, clips."""

import re
from collections.abc import Sequence
from typing import Final

from thinslice.traits import TARGETS

TRAIT_SPELLINGS: Final = {
    "openness": ("openness", "opennesstoexperience", "open", "ope", "opn", "o"),
    "conscientiousness": ("conscientiousness", "conscientious", "con", "csn", "c"),
    "extraversion": ("extraversion", "extroversion", "extravert", "extrovert", "ext", "e"),
    "agreeableness": ("agreeableness", "agreeable", "agr", "a"),
    "neuroticism": (
        "neuroticism",
        "neurotisicm",  # thus in First Impressions' own files
        "neurotic",
        "neu",
        "n",
        "nonneuroticism",
        "emotionalstability",
        "stability",
    ),
    "interview": ("interview", "interviewscore", "invite", "jobinterview"),
}
"""Names of the trait columns, compared without case, blanks and punctuation, and without words like "value" or "pred"
before or after them: ``ValueNeurotisicm``, ``pred_openness``, ``Emotional Stability``, ``O``."""

CLIP_SPELLINGS: Final = (
    "clip",
    "clipname",
    "clipid",
    "videoname",
    "filename",
    "file",
    "video",
    "videofile",
    "path",
    "videopath",
    "filepath",
    "name",
    "id",
    "videoid",
)
"""Names of the clip column, best first; where none is there, a first column without a name will do."""

_AROUND: Final = (
    "value",
    "predicted",
    "prediction",
    "predictions",
    "pred",
    "score",
    "scores",
    "apparent",
    "mean",
    "yhat",
)
_LOW_ENDS, _HIGH_ENDS = ("low", "lower", "lo"), ("high", "upper", "hi")


def plain(name: str) -> str:
    """Return a name in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def target_of(name: str, targets: Sequence[str] = TARGETS) -> tuple[str, str] | None:
    """Return (target, "" or "low" or "high") of a column's name, None if it is none of the targets.

    Args:
        name: as the table has it.
        targets: those looked for. Traits are known under `TRAIT_SPELLINGS`, others under their own names.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.strip().lower()) if word]
    if (own := _own("".join(words), targets)) is not None:
        return own, ""
    end = ""
    if len(words) > 1 and words[-1] in _LOW_ENDS + _HIGH_ENDS:
        end = "low" if words.pop() in _LOW_ENDS else "high"
    if (own := _own("".join(words), targets)) is not None:
        return own, end
    words = [word for word in words if word not in _AROUND]
    trait = _spelled("".join(words), targets)
    if trait is None and len(words) == 2 and _spelled(words[0], targets) == _spelled(words[1], targets):
        trait = _spelled(words[0], targets)  # "Openness (O)"
    return None if trait is None else (trait, end)


def _own(name: str, targets: Sequence[str]) -> str | None:
    return next((target for target in targets if target not in TARGETS and plain(target) == name), None)


def _spelled(name: str, targets: Sequence[str]) -> str | None:
    forms = {name}
    for word in _AROUND:  # "ValueOpenness", "opennesspred"; too little would be left of "valueo" to be sure
        forms |= {form for form in (name.removeprefix(word), name.removesuffix(word)) if len(form) > 2}
    spellings = {target: TRAIT_SPELLINGS.get(target, (plain(target),)) for target in targets}
    return next((target for target, names in spellings.items() if not forms.isdisjoint(names)), None)
