"""What raters are asked: a small TOML file, or a preset."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from thinslice.documents import Document, format_document, load_document
from thinslice.errors import UsageError
from thinslice.files import write_atomically

PRESETS = Path(__file__).with_name("presets")
DEFAULT = "first-impressions"
FILE = "study.json"


class Question(Document):
    """One question.

    Attributes:
        trait: column of the answers.
        text: what is asked; for ratings what is rated, which may be empty.
        low: pole at the low end, for ratings.
        high: pole at the high end, for ratings.
        reversed: whether "more" of what is asked is less of the trait.
    """

    trait: str
    text: str = ""
    low: str = ""
    high: str = ""
    reversed: bool = False


class Scale(Document):
    """The scale of ratings."""

    low: float = 1.0
    high: float = 7.0
    step: float = 1.0


class PageWords(Document):
    """All other texts of the page, for other languages; {n} and {goal} are filled in."""

    code: str = "Your code"
    code_note: str = "The code that you were given. Not your name."
    begin: str = "Begin"
    agree: str = "I agree"
    decline: str = "I do not agree"
    declined: str = "Thank you. Nothing was recorded; you can close this page."
    left: str = "Left"
    right: str = "Right"
    cannot_say: str = "Cannot say"
    next: str = "Next"
    undo: str = "Undo"
    watch: str = "Watch the clips first."
    unplayable: str = "A clip cannot be played here; choose “Cannot say”."
    told_left: str = "A check: please choose the left clip for every question."
    told_right: str = "A check: please choose the right clip for every question."
    told_high: str = "A check: please move every slider to its right end."
    told_low: str = "A check: please move every slider to its left end."
    rest: str = "{n} done. Take a short break if you like; you can also close this page and go on later with your code."
    go_on: str = "Go on"
    progress: str = "{n} of {goal}"
    count: str = "{n} done"
    done: str = "You have done all. Thank you! You can close this page."
    offline: str = "The server cannot be reached. Your answer is kept here and sent again."
    keys: str = "Keys: ← left, → right, ↓ cannot say, Backspace undo, 1 and 2 play."


class Study(Document):
    """What raters see and how often.

    Attributes:
        title: heading of the page.
        questions: asked about every pair or clip.
        mode: "pairs" shows two clips, "ratings" one with sliders.
        language: of all texts, as in HTML (`lang`).
        direction: of the writing, "ltr" or "rtl".
        introduction: shown with the code.
        consent: what a rater agrees to; "" asks nothing.
        scale: of ratings.
        answers_each: pairs or clips for one rater; 0 for as many as there are.
        check_every: after so many answers comes an attention check; 0 for none.
        break_every: after so many answers a break is offered; 0 for never.
        watch_s: how long each clip has to be watched before one can answer, seconds; a shorter clip to its end.
        raters: the codes that may take part; empty for anyone's.
        words: all other texts.
    """

    title: str
    questions: tuple[Question, ...]
    mode: Literal["pairs", "ratings"] = "pairs"
    language: str = "en"
    direction: Literal["ltr", "rtl"] = "ltr"
    introduction: str = ""
    consent: str = ""
    scale: Scale = msgspec.field(default_factory=Scale)
    answers_each: int = 0
    check_every: int = 15
    break_every: int = 25
    watch_s: float = 3.0
    raters: tuple[str, ...] = ()
    words: PageWords = msgspec.field(default_factory=PageWords)


def load_study(name_or_file: str) -> Study:
    """Return a preset by its name, or a study from a TOML file.

    Raises:
        UsageError: there is no such preset or file, or the file does not say what it must.
    """
    path = PRESETS / f"{name_or_file}.toml"
    if not path.is_file():
        path = Path(name_or_file)
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError:
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.toml")))
        raise UsageError(f"{name_or_file}: no such file of questions, nor a preset; there are: {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no TOML file ({error})") from None
    try:
        study = msgspec.convert(data, Study)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}; docs/rate.md shows what such a file holds") from None
    problem = _problem(study)
    if problem:
        raise UsageError(f"{path}: {problem}")
    return study


def open_study(name_or_file: str | None, folder: Path) -> Study:
    """Return the study of a folder of answers, and note it there.

    Args:
        name_or_file: a preset or file; None for what the folder's answers are to, else the first preset.
        folder: of the answers.

    Raises:
        UsageError: the questions cannot be read, or the folder's answers are to others. Texts may change, the mode,
            the scale and the traits may not.
    """
    path = folder / FILE
    old = load_document(path, Study, "take it out only if there are no answers yet") if path.exists() else None
    if name_or_file is None and old is not None:
        return old
    study = load_study(name_or_file or DEFAULT)
    if old is not None and _asked(old) != _asked(study):
        raise UsageError(f"{folder}: holds answers to other questions; choose another --out, or the old ones")
    write_atomically(path, format_document(study, indent=1).encode() + b"\n")
    return study


def _asked(study: Study) -> tuple[object, ...]:
    """Return what must stay the same as long as answers are collected."""
    scale = study.scale if study.mode == "ratings" else None
    return (study.mode, scale, *((question.trait, question.reversed) for question in study.questions))


def _problem(study: Study) -> str:
    traits = [question.trait for question in study.questions]
    if not traits:
        return "no [[questions]]"
    if any(not trait.strip() or trait in ("left", "right", "clip", "rater") for trait in traits):
        return "every question needs a trait other than left, right, clip and rater"
    if study.mode == "pairs" and len(set(traits)) < len(traits):
        return 'with mode = "pairs" each trait is asked once'
    if study.mode == "pairs" and any(not question.text for question in study.questions):
        return 'with mode = "pairs" every question needs a text'
    if not study.scale.low < study.scale.high or study.scale.step <= 0:
        return "the scale needs low < high and step > 0"
    if min(study.answers_each, study.check_every, study.break_every, study.watch_s) < 0:
        return "answers_each, check_every, break_every and watch_s are 0 or more"
    return ""
