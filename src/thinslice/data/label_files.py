"""What one file of a corpus says of its clips, whatever its form: pickles and CSV files under many headers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from thinslice.data.manifest import NUMERIC_COLUMNS, REQUIRED_COLUMNS, number_problem
from thinslice.data.official import AGE_GROUPS, ETHNICITIES, GENDERS
from thinslice.data.own_ratings import CLIPS, RATERS, SPEAKERS, RatingScale, rated_headers, read_ratings
from thinslice.data.table import CsvTable, decode_utf8, parse_table
from thinslice.errors import ManifestError, counted
from thinslice.evaluate.spellings import plain
from thinslice.formats.python2_pickle import parse_annotations, parse_transcripts
from thinslice.traits import TARGETS

CLIP_HEADERS: Final = ("clip", "filename", "videoname", "clipname", "video", "file", "name", "path", "videoid")
"""Headers under which corpora name their clips, most telling first; case, blanks, "_" and "-" do not count."""

COLUMN_HEADERS: Final = {
    **{name: name for name in TARGETS},
    **{f"value{name}": name for name in TARGETS},
    "neurotisicm": "neuroticism",
    "valueneurotisicm": "neuroticism",  # so spelt in the ground truth of First Impressions V1
    "transcript": "transcript",
    "transcription": "transcript",
    "agegroup": "age_group",
    "gender": "gender",
    "ethnicity": "ethnicity",
    "valence": "valence",
    "arousal": "arousal",
    "split": "split",
    "speaker": "speaker",
    "youtubeid": "speaker",
    "videoid": "speaker",
}
"""Headers that mean a manifest's column."""

_HINT = "; if that is the scale, name it: --scale 1:7"
_GROUND_TRUTH = re.compile(r"(^|[^a-z])(gt|ground|groundtruth|annotations?|labels?)([^a-z]|$)")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
}


@dataclass(frozen=True)
class LabelFile:
    """What one file says.

    Attributes:
        where: the file, for messages.
        cells: manifest column -> clip as the file spells it -> text, never empty.
        clips: clips of which the file makes rows; () for a file of attributes, which adds to clips known otherwise.
        split: split that the file's name or folder says, None where it does not.
        notes: what was converted or left out, one line each.
    """

    where: str
    cells: Mapping[str, Mapping[str, str]]
    clips: tuple[str, ...]
    split: str | None
    notes: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> str:
        """What the file holds, in a few words."""
        columns = ", ".join(name for name in self.cells if name not in ("split", "speaker"))
        num_clips = len({clip for clips in self.cells.values() for clip in clips} | set(self.clips))
        return f"{counted(num_clips, 'clip')}: {columns}"


class NotLabelsError(Exception):
    """A file that is not a label file of a corpus, and why."""


def split_of(where: str) -> str | None:
    """Return the split that a path within a corpus names, looking from the file upwards; None where none or two.

    ``val-annotation-e.zip/annotation_validation.pkl`` gives "validation", ``train-1.zip/training80_01.zip/x`` "train".
    """
    for part in reversed(where.split("/")):
        words = re.split(r"[^a-z]+", part.lower())
        found = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def parse_pickle(data: bytes, where: str) -> LabelFile:
    """Read an official annotation or transcription pickle, told apart by its name.

    Raises:
        ManifestError: as `parse_annotations`.
        NotLabelsError: a pickle of another name.
    """
    name = where.rpartition("/")[2].lower()
    if "annotation" in name:
        labels = parse_annotations(data, where)
        cells = {trait: {clip: repr(label) for clip, label in column.items()} for trait, column in labels.items()}
        clips = tuple(dict.fromkeys(clip for column in cells.values() for clip in column))
        return LabelFile(where, cells, clips, split_of(where))
    if "transcript" in name:
        texts = parse_transcripts(data, where)
        spoken = {clip: text for clip, text in texts.items() if text}
        return LabelFile(where, {"transcript": spoken}, tuple(texts), split_of(where))
    raise NotLabelsError("a pickle whose name says neither annotation nor transcription")


def parse_labels_csv(data: bytes, where: str, *, trusted: bool = False, own: RatingScale | None = None) -> LabelFile:
    """Read a CSV file with one row per clip, under the headers of `COLUMN_HEADERS`, separated by commas or semicolons.

    Args:
        data: the file.
        where: its name, for messages, for its split and for whether it looks like ground truth.
        trusted: a table the user named. Its trait columns are labels whatever its name; otherwise only a name such as
            "training_gt.csv" makes them labels, since a file of *predictions* has the same columns. Columns that
            thinslice does not know are kept too, as text under their own names.
        own: how the ratings of one's own table are meant (`thinslice.data.own_ratings`); None for a corpus's, whose
            number codes of age, gender, ethnicity and mood are turned into words and [-1, 1].

    Raises:
        ManifestError: a table, but one with a mistake.
        NotLabelsError: a table of something else.
    """
    table = _parse(data, where)
    if set(REQUIRED_COLUMNS) <= set(table.header) and not trusted:
        raise NotLabelsError("a manifest")
    clip_header, columns = _columns_of(table) if own is None else _own_columns_of(table, own)
    known = [name for name in columns if name not in ("split", "speaker")]
    if not known and not trusted:
        raise NotLabelsError("no column that a manifest has")
    rated = TARGETS if own is None else own.rated
    traits = [name for name in known if name in rated]
    if traits and not trusted and not _GROUND_TRUTH.search(where.lower()):
        raise NotLabelsError(
            "trait columns, but not named as ground truth: predictions? If labels, give it with --labels"
        )

    clips = _clips_of(table, clip_header, by_raters=own is not None)
    cells: dict[str, dict[str, str]] = {}
    for name, header in columns.items():
        texts = table.column(header)
        texts = texts if name == "transcript" else tuple(text.strip() for text in texts)
        cells[name] = {clip: text for clip, text in zip(clips, texts, strict=True) if text}
    if own is None:
        notes = _decode_columns(cells, table.header, where)
    else:
        notes = read_ratings(cells, columns, own, NUMERIC_COLUMNS, where)
        if not traits:
            notes.append(f"{where}: no column of a trait; call them {', '.join(TARGETS)}, or name yours with --targets")
    ignored = [name for name in table.header if name != clip_header and name not in columns.values()]
    if trusted:
        kept = [name for name in ignored if name not in (*REQUIRED_COLUMNS, *cells)]
        if kept:
            notes.append(f"{where}: kept as text, not recognised: {', '.join(kept)}")
        for header in kept:
            cells[header] = {clip: text for clip, text in zip(clips, table.column(header), strict=True) if text}
            ignored.remove(header)
    if ignored:
        notes.append(f"{where}: a manifest has no column for {', '.join(ignored[:8])}{'...' if ignored[8:] else ''}")
    _check_numbers(table, clips, cells, (*rated, *NUMERIC_COLUMNS), "" if own is None else _HINT)
    makes_rows = trusted or bool(traits) or "transcript" in columns or _key(clip_header) == "filename"
    return LabelFile(where, cells, clips if makes_rows else (), split_of(where), tuple(notes))


def _parse(data: bytes, where: str) -> CsvTable:
    """Return a table whose cells are separated by whatever its first line has most of."""
    text = decode_utf8(data, where).lstrip()
    first_line, _, rest = text.partition("\n")
    if (announced := re.fullmatch(r"sep=([,;\t])", first_line.strip())) is not None:  # Excel's first line
        return parse_table(rest.encode(), where, delimiter=announced[1])
    return parse_table(data, where, delimiter=max(",;\t", key=first_line.count))


def _key(header: str) -> str:
    return re.sub(r"[\s_\-]+", "", header).lower()


def _columns_of(table: CsvTable) -> tuple[str, dict[str, str]]:
    """Return the header that names clips, and manifest column -> header of the others that are known."""
    by_key: dict[str, str] = {}
    for header in table.header:
        by_key.setdefault(_key(header), header)
    clip_key = next((key for key in CLIP_HEADERS if key in by_key), None)
    if clip_key is None:
        raise NotLabelsError("no column that names clips")
    meant = [(header, COLUMN_HEADERS[key]) for key, header in by_key.items() if key in COLUMN_HEADERS]
    return by_key[clip_key], _unambiguous(table, [pair for pair in meant if pair[0] != by_key[clip_key]])


def _own_columns_of(table: CsvTable, own: RatingScale) -> tuple[str, dict[str, str]]:
    """As `_columns_of`, of one's own table: rated columns under any name that people use."""
    by_plain: dict[str, str] = {}
    for header in table.header:
        by_plain.setdefault(plain(header), header)
    clip = next((by_plain[name] for name in CLIPS if name in by_plain), None)
    if clip is None:
        raise NotLabelsError(f"no column that names clips: call it clip; there are {', '.join(table.header)[:200]}")
    speaker = next((by_plain[name] for name in SPEAKERS if name in by_plain), None)
    others = [header for header in table.header if header != clip]
    rated = rated_headers(others, own.rated)
    meant = list(rated.items()) + ([] if speaker is None else [(speaker, "speaker")])
    for header in others:
        name = COLUMN_HEADERS.get(_key(header))
        if name is not None and header not in rated and name not in (*own.rated, "speaker"):
            meant.append((header, name))
    return clip, _unambiguous(table, meant)


def _unambiguous(table: CsvTable, meant: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return manifest column -> header; ManifestError where two headers mean one column."""
    columns: dict[str, str] = {}
    for header, name in meant:
        if name in columns:
            raise ManifestError(f"{table.source}: both {columns[name]} and {header} are {name}; leave one out")
        columns[name] = header
    return columns


def _check_numbers(
    table: CsvTable, clips: Sequence[str], cells: Mapping[str, Mapping[str, str]], names: Iterable[str], hint: str
) -> None:
    rows = {clip: row for row, clip in enumerate(clips)}
    for name in names:
        for clip, text in cells.get(name, {}).items():
            if problem := number_problem(name, text):
                said = hint if "outside [0, 1]" in problem else ""
                raise ManifestError(f"{table.where(rows[clip])}: {problem}{said}")


def _clips_of(table: CsvTable, header: str, by_raters: bool = False) -> tuple[str, ...]:
    clips = tuple(clip.strip().replace("\\", "/") for clip in table.column(header))
    first: dict[str, int] = {}
    for row, clip in enumerate(clips):
        if not clip:
            raise ManifestError(f"{table.where(row)}: {header} is empty")
        if first.setdefault(clip, row) != row:
            rater = next((name for name in table.header if by_raters and plain(name) in RATERS), None)
            several = f"; if {rater} says who rated, join the raters first: thinslice votes" if rater else ""
            raise ManifestError(
                f"{table.where(row)}: {clip} is listed twice, first at {table.where(first[clip])}{several}"
            )
    return clips


def _decode_columns(cells: dict[str, dict[str, str]], header: tuple[str, ...], where: str) -> list[str]:
    """Turn First Impressions' number codes into words, in place; a column with any other value stays as it is."""
    notes = []
    for name, words in (("age_group", AGE_GROUPS), ("gender", GENDERS), ("ethnicity", ETHNICITIES)):
        column = cells.get(name, {})
        if column and all(text in words for text in column.values()):
            cells[name] = {clip: words[text] for clip, text in column.items()}
            codes = {text: words[text] for text in sorted(set(column.values()))}
            notes.append(f"{where}: {name} {', '.join(f'{code} = {word}' for code, word in codes.items())}")
    if "likeability" in {_key(name) for name in header}:
        # The mood ratings: three steps, 1 to 3. Without likeability beside them nothing tells 1 of 3 from 1 of [-1, 1].
        steps = {"1": "-1", "2": "0", "3": "1"}
        for name in ("valence", "arousal"):
            column = cells.get(name, {})
            if column and all(text in steps for text in column.values()):
                cells[name] = {clip: steps[text] for clip, text in column.items()}
                notes.append(f"{where}: {name} 1, 2, 3 became -1, 0, 1")
    return notes
