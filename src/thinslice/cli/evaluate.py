"""``thinslice evaluate``: score any prediction file, beside baselines that never look at the clips."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from thinslice.cli.submit import submission_options
from thinslice.output import print_json, say, warn

EPILOG = """\b
Examples:
  thinslice evaluate predictions.csv --labels test.csv --train train.csv
  thinslice evaluate predictions.csv --labels fi.csv --split test --train fi.csv --train-split train
  thinslice evaluate new.csv --compare old.csv --labels test.csv --train train.csv --train validation.csv
  thinslice evaluate predictions.csv --labels test.csv --train train.csv --group-by gender,age_group --out scores/
  thinslice evaluate predictions.csv --labels test.csv --attributes emotions.csv --group-by emotion
  thinslice evaluate predictions.csv --labels test.csv --votes votes.csv.gz
  thinslice evaluate predictions.csv --labels own.csv --targets warmth,competence
  thinslice evaluate predictions.csv --labels test.csv --train train.csv --submit-to leaderboard.csv --system mine
"""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NAMED = 10


@click.command(epilog=EPILOG)
@click.argument("predictions", type=_FILE, metavar="PREDICTIONS.csv")
@click.option("--labels", required=True, type=_FILE, metavar="MANIFEST", help="The predicted clips, with labels.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Score only this split of --labels; repeatable.")
@click.option(
    "--train",
    "training",
    multiple=True,
    type=_FILE,
    metavar="MANIFEST",
    help="Clips the system learned from: for the baselines and to tell seen speakers; repeatable, pooled.",
)
@click.option(
    "--train-split",
    "train_splits",
    multiple=True,
    metavar="NAME",
    help="Use only this split of --train; repeatable. Predicted clips are never used.",
)
@click.option("--targets", metavar="NAME,...", help="Columns to score.  [default: the Big Five and interview]")
@click.option("--group-by", metavar="COLUMN,...", default="", help="Columns of --labels: scores and gaps per group.")
@click.option(
    "--attributes",
    type=_FILE,
    metavar="TABLE.csv",
    help="Column clip and any others: further columns for --group-by, such as estimated emotions.",
)
@click.option(
    "--votes",
    type=_FILE,
    metavar="VOTES.csv",
    help="Votes (left, right, traits; .gz too): how often predictions agree with voters, and how often people do.",
)
@click.option("--compare", type=_FILE, metavar="OTHER.csv", help="Another prediction file: paired differences.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for scores.md, .tex, .csv, .json and the figures (PNG and SVG).",
)
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=10_000,
    show_default=True,
    help="Bootstrap samples of speakers for the 95% intervals; 0: none.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@submission_options
def evaluate(
    predictions: Path,
    labels: Path,
    splits: tuple[str, ...],
    training: tuple[Path, ...],
    train_splits: tuple[str, ...],
    targets: str | None,
    group_by: str,
    attributes: Path | None,
    votes: Path | None,
    compare: Path | None,
    out: Path | None,
    resamples: int,
    seed: int,
    as_json: bool,
    submission: Any,
) -> None:  # fmt: skip
    """Score PREDICTIONS.csv against labels. It needs a column clip and trait columns; most spellings are understood.

    Every score is shown with the training mean, a lookup of the speaker's training labels, its 95% interval, and the
    scores on seen and unseen speakers. All rows of --labels are scored unless --split says otherwise. Exit code 1 if
    any clip is missing, unknown or unreadable (the others are scored).
    """
    if train_splits and not training:
        raise click.UsageError("--train-split needs --train")
    from thinslice.cli.labelled import read_labelled
    from thinslice.data.votes import load_votes
    from thinslice.evaluate.panel import Resampling
    from thinslice.evaluate.predictions import read_predictions
    from thinslice.evaluate.scorecard import build_scorecard
    from thinslice.targets import chosen_targets, split_names
    from thinslice.traits import TARGETS

    columns = split_names(group_by, "--group-by")
    names = chosen_targets(targets or "", TARGETS)
    file = read_predictions(predictions, names)
    other = None if compare is None else read_predictions(compare, names)
    people = None if votes is None else load_votes(votes)
    labelled = read_labelled(labels, splits, attributes, names)
    parts = [read_labelled(path, train_splits, targets=names) for path in training]
    card, scored = build_scorecard(
        labelled, file, parts, columns, compare=other, votes=people, resampling=Resampling(resamples, seed)
    )
    if out is not None:
        _write(out, card, scored)
    if as_json:
        print_json(card.to_dict())
    else:
        from thinslice.cli.show_table import print_tables
        from thinslice.evaluate.tables import build_tables

        print_tables(build_tables(card))
    _report(card)
    if card.missing and len(found := dict.fromkeys(labelled.columns["split"])) > 1 and not splits:
        say(f"{labels} holds the splits {', '.join(found)}; --split NAME scores one of them")
    if submission is not None:
        _submit(submission, card, labelled, parts, predictions)
    problems = file.problems + (other.problems if other is not None else ())
    lost = any(problem.is_loss for problem in problems)
    left_over = [card.missing, card.unknown, card.unlabelled]
    if card.comparison:
        left_over.append(card.comparison.missing)
    if lost or any(left_over) or not card.num_clips:
        sys.exit(1)


def _submit(submission: Any, card: Any, labelled: Any, parts: Any, predictions: Path) -> None:
    from thinslice.evaluate.leaderboard import make_entry, submit

    entry = make_entry(submission, card, labelled, parts, predictions.read_bytes())
    replaced = submit(entry, submission.file)
    took = "in the place of its earlier row" if replaced else "as a new row"
    say(f"{submission.file}: {entry.system} stands there {took}; split {entry.test_sha256[:12]}")


def _write(out: Path, card: Any, scored: Any) -> None:
    from thinslice.evaluate import figures, tables
    from thinslice.files import write_atomically

    built = tables.build_tables(card)
    texts = {
        "scores.md": tables.to_markdown(built),
        "scores.tex": tables.to_latex(built),
        "scores.csv": tables.to_csv(card),
        "scores.json": json.dumps(card.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write_atomically(out / name, text.encode())
    figures.save_figure(figures.plot_accuracy_r2(card), out / "accuracy_r2")
    figures.save_figure(figures.plot_scatter(scored, card), out / "scatter")
    say(f"wrote {', '.join(texts)}, accuracy_r2 and scatter (.png, .svg) to {out}")


def _report(card: Any) -> None:
    """Say on stderr what was not scored, and what is odd."""
    what = {
        "missing": "labelled {} without a (complete) prediction",
        "unknown": "predicted {} not among the labels",
        "unlabelled": "predicted {} without a label",
    }
    lists = {key: (getattr(card, key), text) for key, text in what.items()}
    if card.comparison:
        name = card.comparison.predictions
        lists["compare"] = (card.comparison.missing, f"scored {{}} without a (complete) prediction in {name}")
    for clips, text in lists.values():
        if clips:
            named = ", ".join(clips[:_NAMED]) + (f" and {len(clips) - _NAMED} more" if len(clips) > _NAMED else "")
            warn(f"{len(clips):,} {text.format('clip' if len(clips) == 1 else 'clips')}: {named}")
    if not card.num_clips:
        warn("no clip was scored: check that both files name the same clips")
    for line in card.warnings:
        warn(f"warning: {line}")
