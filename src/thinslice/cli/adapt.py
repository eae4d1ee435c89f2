"""``thinslice adapt``: a bundle fitted to other people by some dozens of rated clips."""

from pathlib import Path
from typing import Any

import click

from thinslice.errors import counted
from thinslice.output import print_json, say

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thinslice adapt face-voice-words --data rated.csv --out bundles/ours
  thinslice adapt voice-words --data rated.csv --predictions as-it-is.csv --out bundles/ours
  thinslice predict talk.mp4 --bundle bundles/ours
"""
)
@click.argument("bundle", metavar="BUNDLE")
@click.option("--data", required=True, type=_PATH, metavar="MANIFEST", help="Rated clips with their speakers.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Use only this split of --data; repeatable.")
@click.option("--out", required=True, type=_PATH, metavar="NEW", help="The folder of the bundle to write.")
@click.option("--name", metavar="NAME", help="Of the new bundle.  [default: the old one's, and -adapted]")
@click.option(
    "--predictions",
    type=_PATH,
    metavar="CSV",
    help="Scores of these clips by BUNDLE, made before with predict; else they are made now. A table does not say what "
    "each input gave, so that no weights of inputs are tried.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the folds of speakers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def adapt(
    bundle: str,
    data: Path,
    splits: tuple[str, ...],
    out: Path,
    name: str | None,
    predictions: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Fit BUNDLE to the people of MANIFEST, and make new intervals.

    Each target gets a shift and a scale or, where the score is a sum over face, voice and words, a shift and a weight
    of each input. Cross-validation by speakers chooses, and says whether it helped: against the bundle as it is, and
    against giving every clip the mean of the ratings. Where it did not help, the scores stay and only the intervals
    are new. With fewer than 10 speakers nothing is written. The clips must not be among those that BUNDLE was trained
    on.
    """
    from thinslice.bundle import check_place, load_bundle
    from thinslice.cli.labelled import read_labelled
    from thinslice.data.manifest import load_manifest
    from thinslice.evaluate.adaptation import check_enough, fit_lines, judge
    from thinslice.evaluate.panel import Resampling
    from thinslice.infer.adapted import write_adapted

    check_place(out)
    model = load_bundle(bundle)
    rated = read_labelled(data, splits, targets=model.outputs)
    rows = [i for i, row in enumerate(rated.labels) if (row == row).any()]
    rated = rated.of(rows)
    check_enough(rated.speakers)
    scores, shares, used, failed = _scores_of(model, bundle, load_manifest(data), rated, predictions)
    there = [i for i, row in enumerate(scores) if (row == row).all()]
    rated, scores, used = rated.of(there), scores[there], [used[i] for i in there]
    shares = {label: values[there] for label, values in shares.items()}
    verdict, crossed = judge(rated.labels, scores, rated.speakers, model.outputs, Resampling(), seed, shares)
    lines = fit_lines(rated.labels, scores, rated.speakers, seed, shares) if verdict.helps else None
    residuals = rated.labels - (crossed if verdict.helps else scores)
    digest = load_manifest(data).digest
    write_adapted(model, out, lines=lines, labels=rated.labels, residuals=residuals, speakers=rated.speakers,
                  used=used, verdict=verdict, source=data.name, digest=digest, name=name)  # fmt: skip
    load_bundle(out)
    if as_json:
        print_json(_document(model, verdict, lines, out, failed))
    else:
        for line in verdict.sentences():
            click.echo(line)
        if lines is not None:
            click.echo(f"what was fitted: {lines.describe()}")
    say(f"wrote {out}; predict with --bundle {out}")
    if failed:
        raise SystemExit(1)


def _scores_of(model: Any, bundle: str, manifest: Any, rated: Any, predictions: Path | None) -> Any:
    """Return what the bundle says of the n rated clips.

    Returns:
        Scores (n, k), NaN where there are none; input -> its share of them (n, k), NaN where it is not there, empty
        where shares are not known; the inputs of each clip, joined by "+"; the clips that have no score.
    """
    import numpy as np

    from thinslice.bundle import SUMS
    from thinslice.errors import ThinsliceError, UsageError
    from thinslice.evaluate.clip_names import match_clips
    from thinslice.evaluate.predictions import read_predictions
    from thinslice.infer.predictor import Predictor

    every = model.document.input_combinations()[0]
    scores, used = np.full((len(rated.clips), len(model.outputs)), np.nan), [every] * len(rated.clips)
    failed = []
    shares: dict[str, Any] = {}
    if predictions is not None:
        file = read_predictions(predictions, model.outputs)
        if absent := [target for target in model.outputs if target not in file.targets]:
            raise UsageError(
                f"{predictions}: no column {', '.join(absent)}, which {model.name} predicts; "
                f"make it with: thinslice predict --bundle {bundle}"
            )
        inputs = _inputs_said(predictions, model)
        for row, clip in enumerate(match_clips(rated.clips, file.clips)):
            if clip is not None:
                scores[clip] = file.scores[row]
                used[clip] = inputs.get(file.clips[row], every)
        failed = [clip for clip, row in zip(rated.clips, scores, strict=True) if np.isnan(row).any()]
    else:
        predictor = Predictor(bundle)
        is_sum = model.document.kind in SUMS
        if is_sum:
            shares = {entry.label: np.full_like(scores, np.nan) for entry in model.inputs.values()}
        place = {clip: i for i, clip in enumerate(manifest.clips)}
        for i, clip in enumerate(rated.clips):
            try:
                words = manifest.transcripts.get(clip)
                found = predictor.predict(manifest.path(place[clip]), transcript=words, explain=is_sum, pictures=False)
            except ThinsliceError as error:
                failed.append(clip)
                say(str(error))
                continue
            scores[i] = [found.traits[target].score for target in model.outputs]
            used[i] = "+".join(found.used)
            for label, share in (found.explanation.inputs if is_sum and found.explanation else {}).items():
                shares[label][i] = [share[target] for target in model.outputs]
    if failed:
        say(f"left out, without a score: {counted(len(failed), 'rated clip')}, {', '.join(failed[:5])}")
    return scores, shares, used, failed


def _inputs_said(predictions: Path, model: Any) -> dict[str, str]:
    """Return clip -> inputs used, as predict's own tables say; UsageError where they are of another bundle."""
    import csv

    from thinslice.errors import UsageError

    with predictions.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        made = row.get("bundle") or ""
        if made and made not in (model.name, f"{model.name} {model.document.version}"):
            raise UsageError(f"{predictions}: was made by {made}, not by {model.name} {model.document.version}")
        if row.get("clip") and row.get("used") in model.document.intervals:
            found[row["clip"].strip()] = row["used"]
    return found


def _document(model: Any, verdict: Any, lines: Any, out: Path, failed: list[str]) -> dict[str, Any]:
    from thinslice.evaluate.card import to_plain

    return {
        "bundle": str(out),
        "from": {"name": model.name, "version": model.document.version},
        "num_clips": verdict.num_clips,
        "num_speakers": verdict.num_speakers,
        "failed": failed,
        "helped": verdict.is_sure,
        "moved": lines is not None,
        "lines": {} if lines is None else {target: _line(lines, k) for k, target in enumerate(model.outputs)},
        "scores": to_plain(verdict.panels),
        "gain": to_plain(verdict.gain),
        "over_mean": to_plain(verdict.over_mean),
        "says": verdict.sentences(),
    }  # fmt: skip


def _line(lines: Any, k: int) -> dict[str, Any]:
    inputs = {label: _line(line, k) for label, line in lines.inputs.items()}
    return {
        "intercept": float(lines.intercept[k]),
        "slope": float(lines.slope[k]),
        **({"inputs": inputs} if inputs else {}),
    }
