"""``thinslice groups``: compare systems by gender, age range and emotion, beside the published figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from thinslice.output import print_json, say, warn

EPILOG = """\b
Examples:
  thinslice groups audio=audio.csv visual=visual.csv both=both.csv --labels fi.csv --split test
  thinslice groups both=both.csv --labels fi.csv --attributes emotions.csv --out groups/
  thinslice groups voice=voice.csv words=words.csv --labels fi.csv --emotion valence
"""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=EPILOG)
@click.argument("predictions", nargs=-1, required=True, metavar="NAME=PREDICTIONS.csv...")
@click.option("--labels", required=True, type=_FILE, metavar="MANIFEST", help="The predicted clips, with labels.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Score only this split of --labels; repeatable.")
@click.option("--attributes", type=_FILE, metavar="TABLE.csv", help="Column clip and any others, joined to --labels.")
@click.option("--gender", default="gender", show_default=True, metavar="COLUMN", help="Column of genders.")
@click.option("--age", default="age_group", show_default=True, metavar="COLUMN", help="Column of age groups or years.")
@click.option("--emotion", default="emotion", show_default=True, metavar="COLUMN", help="Column of emotions or moods.")
@click.option(
    "--confidence",
    default="emotion_confidence",
    show_default=True,
    metavar="COLUMN",
    help="Column that says how sure the emotions are, 0 to 1; for the histogram.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for groups.md, .tex, .json and the histograms (PNG and SVG).",
)
@click.option("--resamples", type=click.IntRange(0), default=2000, show_default=True, help="Samples of speakers.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def groups(
    predictions: tuple[str, ...],
    labels: Path,
    splits: tuple[str, ...],
    attributes: Path | None,
    gender: str,
    age: str,
    emotion: str,
    confidence: str,
    out: Path | None,
    resamples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Print accuracy by gender, age range and emotion.

    It is per trait, for one or more systems or modalities. The form is that of the audiovisual_attributes slides, whose
    figures stand below. A column that is not there is left out. Gender, age and angry is what annotators or an
    estimator perceived.
    """
    from thinslice.cli.labelled import read_labelled
    from thinslice.errors import ManifestError
    from thinslice.evaluate.attribute_tables import age_ranges, build_attribute_tables
    from thinslice.evaluate.panel import Resampling
    from thinslice.evaluate.predictions import read_predictions
    from thinslice.evaluate.scorecard import build_scorecard

    files = _named(predictions)
    clips = read_labelled(labels, splits, attributes)
    if age in clips.columns:
        clips = replace(clips, columns={**clips.columns, age: age_ranges(clips.columns[age])})
    wanted = {"gender": gender, "age": age, "emotion": emotion}
    found = {what: name for what, name in wanted.items() if any(cell.strip() for cell in clips.columns.get(name, ()))}
    for what, name in wanted.items():
        if what not in found:
            warn(f"{labels}: nothing in a column {name}; no table by {what} (--{what} COLUMN)")
    if not found:
        raise ManifestError(f"{labels}: no column to group by; give one by --gender, --age, --emotion or --attributes")
    cards = {
        name: build_scorecard(
            clips, read_predictions(path), group_by=list(found.values()), resampling=Resampling(resamples, seed)
        )[0]
        for name, path in files.items()
    }
    tables = build_attribute_tables(cards, found.get("gender"), found.get("age"), found.get("emotion"))
    document = {name: _part(card) for name, card in cards.items()}
    if out is not None:
        _write(out, tables, document, clips, found, confidence)
    if as_json:
        print_json(document)
    else:
        from thinslice.cli.show_table import print_tables

        print_tables(tables)
    incomplete = False
    for name, card in cards.items():
        for key in ("missing", "unknown", "unlabelled"):
            if found_clips := getattr(card, key):
                warn(f"{name}: {len(found_clips)} {key} clips, such as {found_clips[0]}")
                incomplete = True
        # Small and unknown groups are marked in the tables.
        for line in (line for line in card.warnings if not line.startswith(tuple(f"{c}: " for c in card.groups))):
            warn(f"warning: {name}: {line}")
    if incomplete:
        raise SystemExit(1)


def _named(predictions: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for entry in predictions:
        name, sign, path = entry.partition("=")
        if not sign:
            name, path = Path(entry).stem, entry
        if not Path(path).is_file():
            raise click.BadParameter(f"{path}: no such file", param_hint="NAME=PREDICTIONS.csv")
        if name in files:
            raise click.BadParameter(f"{name} is named twice", param_hint="NAME=PREDICTIONS.csv")
        files[name] = Path(path)
    return files


def _part(card: Any) -> dict[str, Any]:
    kept = ("num_clips", "num_speakers", "missing", "unknown", "unlabelled", "groups", "warnings")
    plain = card.to_dict()
    return {"official": plain["protocols"]["official"], **{key: plain[key] for key in kept}}


def _write(
    out: Path, tables: Sequence[Any], document: Mapping[str, Any], clips: Any, found: Mapping[str, str], confidence: str
) -> None:
    from thinslice.evaluate.attribute_figures import plot_ages, plot_emotions
    from thinslice.evaluate.figures import save_figure
    from thinslice.evaluate.groups import ordered_groups
    from thinslice.evaluate.tables import to_latex, to_markdown
    from thinslice.files import write_atomically

    texts = {
        "groups.md": to_markdown(tables),
        "groups.tex": to_latex(tables),
        "groups.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write_atomically(out / name, text.encode())
    written = list(texts)
    if "age" in found:
        ages = clips.columns[found["age"]]
        save_figure(plot_ages(ordered_groups(ages), ages, clips.speakers), out / "ages")
        written.append("ages (.png, .svg)")
    if "emotion" in found:
        sure = clips.columns.get(confidence, ("",) * len(clips.clips))
        save_figure(plot_emotions(clips.columns[found["emotion"]], sure), out / "emotions")
        written.append("emotions (.png, .svg)")
    say(f"wrote {', '.join(written)} to {out}")
