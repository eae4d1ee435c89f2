"""``thinslice predict``: clips, or a table of their inputs, to traits."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thinslice import DEFAULT_BUNDLE, __version__
from thinslice.cli.completion import complete_bundle
from thinslice.cli.workers import ray_option, workers_option
from thinslice.errors import MediaError, counted, printable
from thinslice.files import locked, write_atomically
from thinslice.output import detail, make_folder, print_json, say, warn
from thinslice.progress import track
from thinslice.types import Failure, Prediction, failures_csv, predictions_csv, timeline_csv

if TYPE_CHECKING:
    from thinslice.infer.batch import Batch
    from thinslice.infer.inputs_table import InputRow
    from thinslice.infer.predictor import Predictor

Result = Prediction | Failure

EPILOG = """\b
Examples:
  thinslice predict talk.mp4
  thinslice predict talk.mp4 --transcript "Hi everyone, welcome back" --json
  thinslice predict talks/ more/*.mp4 --out report/ --workers 2
  thinslice predict lecture.mp4 --every 15 --out report/
  thinslice predict talk.mp4 --only face,words
  thinslice predict photo.jpg frames/
  ffmpeg -i URL -t 15 -f matroska - | thinslice predict - --json
  thinslice predict --inputs inputs.csv --out scores/
  thinslice predict talks/ --out report/ --ray head-node:6379
"""

JOURNAL = ".finished.jsonl"
NUM_NAMED = 3
NUM_FAILURES = 20


@click.command(epilog=EPILOG)
@click.argument("clips", nargs=-1, metavar="CLIP...", type=click.Path())
@click.option("--transcript", metavar="TEXT_OR_FILE", help="The words spoken, or a .txt, .srt or .vtt file of them.")
@click.option(
    "--bundle",
    default=DEFAULT_BUNDLE,
    show_default=True,
    shell_complete=complete_bundle,
    help="Name or folder of a model; A+B for both.",
)
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
@ray_option
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
    ray_address: str | None,
) -> None:
    """Predict how strangers would judge the personality of the person in each CLIP.

    A CLIP is a video, a sound file, a picture, a folder of clips, a folder of frames named by their numbers, a quoted
    pattern such as "talks/*.mp4", or - for a recording from a pipe.
    The bundled model looks at the face, listens and reads; each may be missing. An interrupted run with --out goes on
    where it stopped.
    """
    from thinslice.infer.batch import Batch
    from thinslice.infer.predictor import Predictor

    if bool(clips) == bool(inputs):
        raise click.UsageError("give clips, or --inputs with a table of their inputs")
    if inputs and out is None and not as_json:
        raise click.UsageError("--inputs needs --out DIR (or --json)")
    if out is not None:
        make_folder(out)
    with ExitStack() as stack:
        stack.enter_context(nullcontext() if out is None else locked(out))
        found, copy = (_rows(inputs), None) if inputs else stack.enter_context(_files(clips, out is not None))
        if transcript is not None and (inputs or len(found) > 1):
            raise click.UsageError("--transcript goes with a single clip; for several put a .txt file beside each")
        options: dict[str, Any] = {
            "transcript": transcript, "start_s": start_s, "end_s": end_s, "every_s": every_s,
            "audio_track": audio_track, "only": only, "without": without,
            "pictures": out is not None and not no_faces,
        }  # fmt: skip
        predictor = Predictor(bundle)
        # A cluster's nodes have the models where their own thinslice is.
        model = bundle if ray_address else predictor
        batch = Batch(model, options, _num_explained(len(found), out, as_json), workers, ray_address)
        results = [_as_standard_input(result, copy) for result in _score(found, batch, predictor, out)]
        predictions = [entry for entry in results if isinstance(entry, Prediction)]
        failures = [entry for entry in results if isinstance(entry, Failure)]
        if out is not None:
            _write(out, predictions, failures, predictor.cards)
    if as_json:
        print_json([entry.to_dict() for entry in results])
    elif predictions and not inputs:
        _print_table(predictions, predictor.cards)
    _tell_failures(failures, len(results), out)
    sys.exit(1 if failures else 0)


def _rows(table: Path) -> "list[InputRow | Failure]":
    from thinslice.infer.inputs_table import read_inputs

    return read_inputs(table)


@contextmanager
def _files(names: Sequence[str], once: bool) -> Iterator[tuple[list[str | Failure], Path | None]]:
    """Give the clips that names stand for, and the copy of standard input where `-` is among them.

    Args:
        names: files, folders, patterns and `-`.
        once: whether a clip that is named twice is scored once.
    """
    from thinslice.media.listing import find_clips
    from thinslice.media.spool import as_file

    found = find_clips(names)
    if found.left_out:
        rest = len(found.left_out) - NUM_NAMED
        named = ", ".join(map(printable, found.left_out[:NUM_NAMED])) + (f" and {rest:,} more" if rest > 0 else "")
        say(f"left out, being no recordings: {named}")
    clips = list(dict.fromkeys(found.clips)) if once else list(found.clips)
    if "-" not in clips:
        yield clips, None
        return
    if clips.count("-") > 1:
        raise click.UsageError("- is standard input; it can be read only once")
    with ExitStack() as stack:
        copy, here = None, clips.index("-")
        if sys.stdin.isatty():
            raise click.UsageError("- reads a recording from a pipe, such as: ffmpeg ... | thinslice predict -")
        try:
            copy = stack.enter_context(as_file(sys.stdin.buffer, "standard input"))
            clips[here] = str(copy)
        except MediaError as error:
            clips[here] = Failure("-", str(error))
        yield clips, copy


def _as_standard_input(result: Result, copy: Path | None) -> Result:
    """Return a result of the copy of standard input as that of `-`; any other as it is."""
    if copy is None or result.clip != str(copy):
        return result
    if isinstance(result, Failure):
        return Failure("-", result.error.replace(str(copy), "standard input"))
    from thinslice.infer.naming import renamed

    return renamed(result, copy, "-")


def _num_explained(num_clips: int, out: Path | None, as_json: bool) -> int:
    """Return of how many clips it is shown what moved their scores: nothing is computed that nobody sees."""
    if out is not None:
        from thinslice.report.view import MAX_DETAILED

        return MAX_DETAILED
    if as_json:
        return 0
    from thinslice.report.terminal import MAX_WHOLE

    return num_clips if num_clips <= MAX_WHOLE else 0


def _score(
    found: "Sequence[str | InputRow | Failure]", batch: "Batch", predictor: "Predictor", out: Path | None
) -> list[Result]:
    """Score what an earlier, interrupted run with the same settings has not scored yet; results in order."""
    from thinslice.infer.batch import predict_unordered
    from thinslice.infer.journal import Journal

    journal = None
    if out is not None and len(found) > 1:
        versions = [(member.bundle.name, member.bundle.document.version) for member in predictor.members]
        journal = Journal(out / JOURNAL, {"thinslice": __version__, "bundles": versions, **batch.options})
    done: dict[int, Result] = {}
    todo: list[tuple[int, str | InputRow]] = []
    for place, clip in enumerate(found):
        if isinstance(clip, Failure):
            done[place] = clip
        elif journal and (known := journal.get(clip, batch.is_explained(place))):
            done[place] = known
        else:
            todo.append((place, clip))
    if num_known := sum(isinstance(result, Prediction) for result in done.values()):
        say(f"scored by an earlier run: {num_known:,} of {counted(len(found), 'clip')}")
    batch = replace(batch, isolated=len(found) > 1 and any(_has_media(clip) for _, clip in todo))
    clips = dict(todo)
    for place, result in track(predict_unordered(todo, batch), "predict", len(todo)):
        if journal and isinstance(result, Prediction):
            journal.add(clips[place], result, batch.is_explained(place))
        _detail(result)
        done[place] = result
    return [done[place] for place in range(len(found))]


def _has_media(clip: "str | InputRow") -> bool:
    return isinstance(clip, str) or clip.pictures is not None


def _detail(result: Result) -> None:
    if isinstance(result, Prediction):
        seconds = ", ".join(f"{stage} {value:.2f} s" for stage, value in result.seconds.items())
        detail(f"{result.clip}: {', '.join(result.used)}; {seconds}")


def _write(out: Path, predictions: list[Prediction], failures: list[Failure], cards: dict[str, Any]) -> None:
    """Write the tables and the report, each whole or not at all; then what is kept of the run may go."""
    from thinslice.report.html import write_report

    has_windows = any(prediction.timeline for prediction in predictions)
    tables = {
        "predictions.csv": predictions_csv(predictions),
        "timeline.csv": timeline_csv(predictions) if has_windows else None,
        "failures.csv": failures_csv(failures) if failures else None,
    }
    for name, text in tables.items():
        if text is None:
            (out / name).unlink(missing_ok=True)  # of an earlier run
        else:
            write_atomically(out / name, text.encode("utf-8", "backslashreplace"))
    write_report(predictions, failures, cards, out / "report.html")
    (out / JOURNAL).unlink(missing_ok=True)
    written = [str(out / name) for name, text in tables.items() if text is not None]
    say(f"wrote {', '.join(written)} and {out / 'report.html'}")


def _print_table(predictions: list[Prediction], cards: Any) -> None:
    from rich.console import Console

    from thinslice.report.terminal import render_table

    Console().print(render_table(predictions, cards))


def _tell_failures(failures: list[Failure], num_clips: int, out: Path | None) -> None:
    """Say each failure once; of very many the first, and where all are."""
    for failure in failures[:NUM_FAILURES]:
        warn(f"failed: {failure.error}")
    if len(failures) > NUM_FAILURES:
        where = f"all are in {out / 'failures.csv'}" if out else "--json prints them all, --out DIR writes them"
        warn(f"and {len(failures) - NUM_FAILURES:,} more; {where}")
    if failures and num_clips > 1:
        warn(f"failed: {len(failures):,} of {counted(num_clips, 'clip')}")
