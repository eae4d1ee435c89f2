"""``thinslice predict``: clips, or a table of their inputs, to traits."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from thinslice.types import Failure, Prediction, predictions_csv

Result = Prediction | Failure

EPILOG = """\b
Examples:
  thinslice predict talk.mp4
  thinslice predict talk.mp4 --transcript "Hi everyone, welcome back" --json
  thinslice predict *.mp4 --out report/ --workers 2
  thinslice predict lecture.mp4 --every 15 --out report/
  thinslice predict talk.mp4 --only face,words
  thinslice predict photo.jpg frames/
  thinslice predict --inputs inputs.csv --out scores/
"""


@click.command(epilog=EPILOG)
@click.argument("clips", nargs=-1, metavar="CLIP...")
@click.option("--transcript", metavar="TEXT_OR_FILE", help="The words spoken, or a .txt, .srt or .vtt file of them.")
@click.option("--bundle", default="voice-words", show_default=True, help="Name or folder of a model; A+B for both.")
@click.option("--inputs", type=click.Path(path_type=Path), help="CSV of precomputed inputs, instead of clips.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for predictions.csv and report.html.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--start", "start_s", type=float, default=0.0, help="Start in the clip, seconds.")
@click.option("--end", "end_s", type=float, help="End in the clip, seconds.")
@click.option("--every", "every_s", type=float, help="Timeline: also score consecutive windows of this many seconds.")
@click.option("--audio-track", type=click.IntRange(1), help="Sound track to hear, of several; counted from 1.")
@click.option("--only", metavar="INPUT,...", help="Use only these of the model's inputs, such as voice,words.")
@click.option("--without", metavar="INPUT,...", help="Use all inputs but these.")
@click.option("--no-faces", is_flag=True, help="Show no face in report.html.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes for many clips.")
def predict(
    clips: tuple[str, ...],
    transcript: str | None,
    bundle: str,
    inputs: Path | None,
    out: Path | None,
    as_json: bool,
    start_s: float,
    end_s: float | None,
    every_s: float | None,
    audio_track: int | None,
    only: str | None,
    without: str | None,
    no_faces: bool,
    workers: int,
) -> None:
    """Predict how strangers would judge the personality of the person in each CLIP.

    A CLIP is a video, a sound file, a picture, or a folder of frames named by their numbers.
    The model voice-words listens and reads; it does not look. An interrupted run with --out goes on where it stopped.
    """
    if bool(clips) == bool(inputs):
        raise click.UsageError("give clips, or --inputs with a table of their inputs")
    if transcript is not None and (inputs or len(clips) > 1):
        raise click.UsageError("--transcript goes with a single clip; for several put a .txt file beside each")
    if inputs and out is None and not as_json:
        raise click.UsageError("--inputs needs --out DIR (or --json)")
    if out is not None:
        make_folder(out)

    from thinslice.infer.predictor import Predictor

    predictor = Predictor(bundle)
    explain = not as_json or out is not None
    results: list[Result]
    if inputs:
        from thinslice.infer.inputs_table import predict_table

        results = list(_progress(predict_table(predictor, inputs, only=only, without=without), None))
    else:
        options: dict[str, Any] = {
            "transcript": transcript, "start_s": start_s, "end_s": end_s, "every_s": every_s,
            "audio_track": audio_track, "only": only, "without": without, "explain": explain,
            "pictures": out is not None and not no_faces,
        }  # fmt: skip
        results = _predict_clips(clips, predictor, workers, options, out)

    predictions = [entry for entry in results if isinstance(entry, Prediction)]
    failures = [entry for entry in results if isinstance(entry, Failure)]
    if out is not None:
        _write_csv(out / "predictions.csv", predictions)
        from thinslice.report.html import write_report

        write_report(predictions, failures, predictor.cards, out / "report.html")
        (out / JOURNAL).unlink(missing_ok=True)
        click.echo(f"wrote {out / 'predictions.csv'} and {out / 'report.html'}", err=True)
    if as_json:
        click.echo(json.dumps([entry.to_dict() for entry in results], indent=1, ensure_ascii=False, allow_nan=False))
    elif not inputs:
        _print_table(predictions, failures, predictor.cards)
    for failure in failures:
        click.echo(f"failed: {failure.error}", err=True)
    if not as_json and not inputs and bundle == "voice-words" and predictions:
        click.echo("voice-words does not look; a model that also looks: thinslice assets get bimodal", err=True)
    sys.exit(1 if failures else 0)


JOURNAL = ".finished.jsonl"


def _predict_clips(
    clips: tuple[str, ...], predictor: Any, workers: int, options: dict[str, Any], out: Path | None
) -> list[Result]:
    """Score what an earlier, interrupted run with the same settings has not scored yet."""
    from thinslice import __version__
    from thinslice.infer.batch import predict_batch

    if out is None or len(clips) == 1:
        return list(_progress(predict_batch(clips, bundle=predictor, workers=workers, options=options), len(clips)))

    from thinslice.infer.journal import Journal

    versions = [(member.bundle.name, member.bundle.document.version) for member in predictor.members]
    journal = Journal(out / JOURNAL, {"thinslice": __version__, "bundles": versions, **options})
    finished: dict[str, Result] = {clip: done for clip in clips if (done := journal.get(clip))}
    todo = [clip for clip in dict.fromkeys(clips) if clip not in finished]
    if finished:
        click.echo(f"{len(finished)} of {len(clips)} clips were scored by an earlier run", err=True)
    for result in _progress(predict_batch(todo, bundle=predictor, workers=workers, options=options), len(todo)):
        if isinstance(result, Prediction):
            journal.add(result)
        finished[result.clip] = result
    return [finished[clip] for clip in dict.fromkeys(clips)]


def _progress(results: Iterable[Result], total: int | None) -> Iterator[Result]:
    """Draw a bar on stderr where a person waits for more than one clip."""
    if total == 1 or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, "predict", total=total, console=Console(stderr=True))


def make_folder(out: Path) -> None:
    """Create a folder for results; UsageError where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--out {out}: cannot make that folder ({error.strerror})") from None


def _write_csv(path: Path, predictions: list[Prediction]) -> None:
    """Write a prediction file, whole or not at all."""
    partial = path.with_suffix(".csv.part")
    partial.write_text(predictions_csv(predictions), "utf-8", newline="")
    os.replace(partial, path)


def _print_table(predictions: list[Prediction], failures: list[Failure], cards: Any) -> None:
    from rich.console import Console

    from thinslice.report.terminal import render_table

    Console().print(render_table(predictions, failures, cards))
