"""``thinslice votes``: people's votes or ratings made into scores, with errors and their reliability."""

from pathlib import Path
from typing import Any

import click

from thinslice.errors import counted
from thinslice.output import print_json, say, warn

EPILOG = """\b
Examples:
  thinslice votes votes.csv.gz --out scores.csv
  thinslice votes ratings.csv --scale 1:7 --clips my_clips.csv --out labelled.csv
  thinslice train deep_impression --data labelled.csv --out runs/mine
"""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=EPILOG)
@click.argument("votes", type=_FILE, metavar="VOTES.csv")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="SCORES.csv",
    help="The scores, a manifest that train takes: traits, <trait>_error and weight.",
)  # fmt: skip
@click.option("--clips", type=_FILE, metavar="MANIFEST", help="Takes paths, splits and speakers from this manifest.")
@click.option(
    "--scale", metavar="LOW:HIGH", help="Ends of the ratings' scale, as 1:7. By default the lowest and highest given."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random halves.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def votes(votes: Path, out: Path, clips: Path | None, scale: str | None, seed: int, as_json: bool) -> None:
    """Turn votes or ratings into scores with standard errors.

    Scores are in [0, 1]; how reliable they are is reported.

    Votes (columns left, right and, for each trait, left, right, tie or empty) give Bradley-Terry scores: the share of
    voters who would choose the clip over an average one. Ratings (columns clip, rater and numbers) give the mean of
    z-scored raters. docs/human-ceiling.md says how each number is made.
    """
    import numpy as np

    from thinslice.data.manifest import load_manifest, save_manifest, speaker_of
    from thinslice.data.votes import load_answers, scores_manifest
    from thinslice.errors import ManifestError
    from thinslice.evaluate.scores import score_rated, score_votes
    from thinslice.evaluate.votes import Votes

    answers = load_answers(votes)
    base = None if clips is None else load_manifest(clips)
    speaker = {} if base is None else dict(zip(base.clips, base.speakers, strict=True))
    speakers = [speaker.get(name, speaker_of(name)) for name in answers.clips]
    if isinstance(answers, Votes):
        if scale:
            raise click.UsageError("--scale is for ratings; votes have none")
        sheet = score_votes(answers, speakers, seed)
    else:
        known = answers.values[~np.isnan(answers.values)]
        ends = _ends(scale) if scale else (float(known.min(initial=np.inf)), float(known.max(initial=-np.inf)))
        if not ends[0] < ends[1]:
            raise ManifestError(f"{votes}: all ratings are equal; there is nothing to score")
        outside = known[(known < ends[0]) | (known > ends[1])]
        if len(outside):
            raise ManifestError(f"{votes}: a rating of {outside[0]:g} is outside the scale {ends[0]:g}:{ends[1]:g}")
        sheet = score_rated(answers, ends, speakers, seed)
    manifest = scores_manifest(sheet, base)
    save_manifest(manifest, out)
    for line in sheet.warnings:
        warn(f"warning: {line}")
    say(f"wrote the scores of {counted(len(manifest), 'clip')} to {out}")
    if as_json:
        print_json(sheet.to_dict())
    else:
        from thinslice.cli.show_table import print_tables

        print_tables([scores_table(sheet)])


def _ends(scale: str) -> tuple[float, float]:
    low, colon, high = scale.partition(":")
    try:
        ends = (float(low), float(high))
    except ValueError:
        ends = (1.0, 0.0)
    if not colon or not ends[0] < ends[1]:
        raise click.BadParameter(f"{scale}: write the lowest and the highest value, as 1:7", param_hint="--scale")
    return ends


def scores_table(sheet: Any) -> Any:
    """Return a `ScoreSheet` as the table that a person reads."""
    from thinslice.evaluate.scores import WANTED
    from thinslice.evaluate.tables import Table

    what = sheet.kind
    rows = []
    for name, one in sheet.traits.items():
        cells = [f"{one.num_answers:,}", f"{one.reliability.votes_per_clip:.1f}", _interval(one.reliability)]
        cells += [_shown(value, 2 if key == "raters_per_clip" else 3) for key, value in one.agreement.items()]
        rows.append((name, *cells, *(_shown(one.reliability.votes_for(goal), 0) for goal in WANTED)))
    titles = {"one_rater": "two voters agree", "icc1k": "ICC(1,k)", "icc2k": "ICC(2,k)", "raters_per_clip": "k"}
    extra = [titles.get(key, key) for key in next(iter(sheet.traits.values())).agreement]
    goals = [f"for {goal:g}" for goal in WANTED]
    header = ("trait", what, "per clip", "reliability", *extra, *goals)
    note = (
        "Reliability: split-half with Spearman-Brown, in brackets its 95% interval. "
        f"For 0.8: {what} a clip that would reach a reliability of 0.8."
    )
    return Table(f"Scores of {counted(len(sheet.clips), 'clip')} from {sheet.source}", header, tuple(rows), note)


def _shown(value: float, decimals: int) -> str:
    return "–" if value != value else f"{value:.{decimals}f}"


def _interval(reliability: Any) -> str:
    ends = f" [{reliability.low:.2f}, {reliability.high:.2f}]" if reliability.low == reliability.low else ""
    return _shown(reliability.value, 2) + ends
