"""``thinslice predict``: clips, or a table of their inputs, to traits."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from thinslice import DEFAULT_BUNDLE
from thinslice.cli.workers import workers_option
from thinslice.files import locked, write_atomically
from thinslice.output import make_folder, print_json
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
@click.option("--bundle", default=DEFAULT_BUNDLE, show_default=True, help="Name or folder of a model; A+B for both.")
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
@workers_option
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
    The bundled model looks at the face, listens and reads; each may be missing. An interrupted run with --out goes on
    where it stopped.
    """
    if bool(clips) == bool(inputs):
        raise click.UsageError("give clips, or --inputs with a table of their inputs")
    if transcript is not None and (inputs or len(clips) > 1):
        raise click.UsageError("--transcript goes with a single clip; for several put a .txt file beside each")
    if inputs and out is None and not as_json:
        raise click.UsageError("--inputs needs --out DIR (or --json)")
    if out is not None:
        make_folder(out)
    with nullcontext() if out is None else locked(out):
        options: dict[str, Any] = {
            "transcript": transcript, "start_s": start_s, "end_s": end_s, "every_s": every_s,
            "audio_track": audio_track, "only": only, "without": without,
            "pictures": out is not None and not no_faces,
        }  # fmt: skip
        results, cards = _results(clips, inputs, bundle, options, workers, out, as_json)
        predictions = [entry for entry in results if isinstance(entry, Prediction)]
        failures = [entry for entry in results if isinstance(entry, Failure)]
        if out is not None:
            _write(out, predictions, failures, cards)
    if as_json:
        print_json([entry.to_dict() for entry in results])
    elif not inputs:
        _print_table(predictions, failures, cards)
    for failure in failures:
        click.echo(f"failed: {failure.error}", err=True)
    sys.exit(1 if failures else 0)


def _results(
    clips: tuple[str, ...],
    inputs: Path | None,
    bundle: str,
    options: dict[str, Any],
    workers: int,
    out: Path | None,
    as_json: bool,
) -> tuple[list[Result], dict[str, Any]]:
    """Return the results of all clips, or rows of a table, in their order, and the models' cards."""
    from thinslice.infer.predictor import Predictor

    predictor = Predictor(bundle)
    if inputs:
        from thinslice.infer.inputs_table import predict_table

        return list(
            _progress(predict_table(predictor, inputs, only=options["only"], without=options["without"]), None)
        ), predictor.cards
    options["explain"] = not as_json or out is not None
    return _predict_clips(clips, predictor, workers, options, out), predictor.cards


JOURNAL = ".finished.jsonl"


def _predict_clips(
    clips: tuple[str, ...], predictor: Any, workers: int, options: dict[str, Any], out: Path | None
) -> list[Result]:
    """Score what an earlier, interrupted run with the same settings has not scored yet."""
    from thinslice import __version__
    from thinslice.infer.batch import predict_unordered
    from thinslice.infer.journal import Journal

    names = list(clips if out is None else dict.fromkeys(clips))
    journal = None
    if out is not None and len(names) > 1:
        versions = [(member.bundle.name, member.bundle.document.version) for member in predictor.members]
        journal = Journal(out / JOURNAL, {"thinslice": __version__, "bundles": versions, **options})
    found: dict[int, Result] = {i: done for i, name in enumerate(names) if journal and (done := journal.get(name))}
    if found:
        click.echo(f"{len(found)} of {len(names)} clips were scored by an earlier run", err=True)
    todo = [i for i in range(len(names)) if i not in found]
    scored = predict_unordered(
        [names[i] for i in todo], bundle=predictor, workers=workers, options=options, isolated=len(names) > 1
    )
    for place, result in _progress(scored, len(todo)):
        if journal and isinstance(result, Prediction):
            journal.add(names[todo[place]], result)
        found[todo[place]] = result
    return [found[i] for i in range(len(names))]


def _progress(results: Iterable[Any], total: int | None) -> Iterator[Any]:
    """Draw a bar on stderr where a person waits for more than one clip."""
    if total == 1 or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, "predict", total=total, console=Console(stderr=True))


def _write(out: Path, predictions: list[Prediction], failures: list[Failure], cards: dict[str, Any]) -> None:
    """Write the prediction file and the report, each whole or not at all; then what is kept of the run may go."""
    from thinslice.report.html import write_report

    write_atomically(out / "predictions.csv", predictions_csv(predictions).encode())
    write_report(predictions, failures, cards, out / "report.html")
    (out / JOURNAL).unlink(missing_ok=True)
    click.echo(f"wrote {out / 'predictions.csv'} and {out / 'report.html'}", err=True)


def _print_table(predictions: list[Prediction], failures: list[Failure], cards: Any) -> None:
    from rich.console import Console

    from thinslice.report.terminal import render_table

    Console().print(render_table(predictions, failures, cards))
