"""``thinslice rate``: a page on which people compare or rate clips, and what their answers come to."""

from pathlib import Path

import click

from thinslice.cli.predict import make_folder
from thinslice.errors import ManifestError, MissingExtraError, UsageError, counted
from thinslice.output import say, warn

EPILOG = """\b
Examples:
  thinslice rate clips.csv --out study/
  thinslice rate clips.csv --out study/ --questions ten-items --host 0.0.0.0
  thinslice rate clips.csv --out study/ --questions my_questions.toml
  thinslice rate clips.csv --out study/ --export
"""


@click.command(epilog=EPILOG)
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the answers.")
@click.option(
    "--questions", metavar="PRESET_OR_FILE",
    help="first-impressions (two clips; default), ten-items (one clip, sliders), or a TOML file.",
)  # fmt: skip
@click.option(
    "--pairs", "policy", type=click.Choice(["active", "random"]), default="active", show_default=True,
    help="How pairs are chosen: where they say most, or at random.",
)  # fmt: skip
@click.option("--export", "as_export", is_flag=True, help="Write votes or ratings, scores and reliability, and end.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for the network.")
@click.option("--port", type=click.IntRange(1, 65535), default=7861, show_default=True)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another name of this server, as of a proxy.")
def rate(
    manifest: Path,
    out: Path,
    questions: str | None,
    policy: str,
    as_export: bool,
    host: str,
    port: int,
    allow_host: tuple[str, ...],
) -> None:
    """Serve a page on which people compare or rate clips.

    Ctrl-C stops it; the same command continues. Every answer is on the disk in OUT/answers.jsonl before the rater sees
    the next clips. --export works meanwhile.
    """
    from thinslice.data.manifest import load_manifest
    from thinslice.rate.answers import FILE
    from thinslice.rate.questions import open_study

    make_folder(out)
    study = open_study(questions, out)
    clips = load_manifest(manifest)
    if as_export:
        _export(out, clips, study)
        return
    media = {clip: path for clip, path in zip(clips.clips, clips.media, strict=True) if path is not None}
    missing = [clip for clip in clips.clips if clip not in media or not media[clip].is_file()]
    if missing:
        raise ManifestError(
            f"{manifest}: no file for {len(missing):,} of {len(clips):,} clips, such as {missing[0]}; fix their path"
        )
    if len(clips) < 2:
        raise ManifestError(f"{manifest}: comparing needs at least two clips")
    try:
        from thinslice.web.guard import known_hosts
        from thinslice.web.rate_app import build_rate_app
        from thinslice.web.serve import address, open_socket, run
    except ImportError:
        raise MissingExtraError("the page for raters", "web") from None
    from thinslice.rate.answers import open_answers
    from thinslice.rate.session import Session
    from thinslice.rate.tokens import load_secret

    with open_answers(out / FILE) as file, open_socket(host, port) as listener:
        session = Session(study, clips.clips, file, load_secret(out), policy)  # type: ignore[arg-type]
        if file.torn:
            warn("the last answer was cut off by a crash; its rater is asked again")
        say(f"{counted(len(session.answers()), 'answer')} so far; raters open {address(host, port)}")
        run(build_rate_app(session, media, known_hosts((host, *allow_host))), listener)
    say(f"continue with the same command; --export writes the results so far. Answers: {out / FILE}")


def _export(out: Path, clips, study) -> None:  # type: ignore[no-untyped-def]
    from thinslice.cli.show_table import print_tables
    from thinslice.cli.votes import scores_table
    from thinslice.rate.answers import FILE, read_answers
    from thinslice.rate.export import SCORES, export

    entries, _ = read_answers(out / FILE)
    if not entries:
        raise UsageError(f"{out}: no answers yet")
    sheet, raters = export(entries, study, clips, out)
    for line in sheet.warnings:
        warn(f"warning: {line}")
    for rater in raters:
        if not rater.is_careful:
            warn(f"warning: left out {rater.code}, who failed {rater.told - rater.told_right} of {rater.told} checks")
    scores = "scores.csv, " if (out / SCORES).exists() else ""
    say(f"wrote {sheet.source}, {scores}reliability.json and raters.csv to {out}")
    if not scores:
        raise UsageError(f"{out}: too few answers for scores; each rater's have to differ from clip to clip")
    print_tables([scores_table(sheet)])
