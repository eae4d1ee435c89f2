"""Whether words look like English, the one language that the models of words were trained on."""

import re
from typing import Final

COMMON_SHARE: Final = 0.11
"""No training transcript of eight words or more has a smaller share of `COMMON_WORDS`; other languages reach 0.08."""
MIN_WORDS: Final = 8
OTHER_SCRIPT: Final = 0.3
"""Share of letters from other scripts than the Latin one, above which a text is not English, however short."""

_COMMON = (
    "to and the you that of it is my like for have i'm be if this because it's really know what not don't with or "
    "going your all get are that's about one think want can out would up when video then go people guys we they them "
    "some from now time there how more questions lot you're i've see kind question right got much make things "
    "something say yeah good love doing actually thing had which been videos little very also where those well first "
    "who any i'll other here probably day even stuff did next feel there's back into why down way he's two anything "
    "always could ask these by answer life favorite they're didn't need has bit were put maybe every okay work mean "
    "said pretty sure only new many try use give off different can't still before look too she her his him"
)
COMMON_WORDS: Final = frozenset(_COMMON.split())
"""The commonest words of the training transcripts, without those that other languages write alike."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def why_not_english(text: str) -> str:
    """Return why a text is no English, for the user; "" where it looks like it or is too short to tell."""
    letters = [character for character in text if character.isalpha()]
    other = sum(not _is_latin(character) for character in letters)
    if letters and other > OTHER_SCRIPT * len(letters):
        return (
            "the words are not in Latin letters; the model knows English only, and scores from these words mean little"
        )
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    share = sum(word in COMMON_WORDS for word in words) / max(len(words), 1)
    if len(words) >= MIN_WORDS and share < COMMON_SHARE:
        return (
            f"the words do not look like English ({share:.0%} of them are common English words); the model knows "
            "English only, and scores from these words mean little"
        )
    return ""


def _is_latin(character: str) -> bool:
    return character < "ɐ" or "Ḁ" <= character <= "ỿ"
