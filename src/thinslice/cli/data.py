"""``thinslice data``: from a download to a verified manifest, and speaker-disjoint splits of it."""

import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thinslice.cli.group import Group
from thinslice.cli.workers import workers_option
from thinslice.errors import counted
from thinslice.output import print_json, say, warn
from thinslice.progress import progress

if TYPE_CHECKING:
    from thinslice.data.first_impressions import Imported
    from thinslice.data.manifest import Manifest
    from thinslice.data.verify import Finding, Verified

LAZY_COMMANDS = {
    "import-folder": "thinslice.cli.data_folder:import_folder_command",
    "import-emotion": "thinslice.cli.data_emotion:import_emotion",
    "planted": "thinslice.cli.data_planted:planted",
    "attributes": "thinslice.cli.data_attributes:attributes",
    "balance": "thinslice.cli.data_balance:balance",
}
NUM_SHOWN = 5
NUM_EXAMPLES = 2

_PATH = click.Path(path_type=Path)


class _DataGroup(Group):
    """Also finds commands that live in modules of their own, where these are installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        lazy = [name for name, where in LAZY_COMMANDS.items() if importlib.util.find_spec(where.partition(":")[0])]
        return [*super().list_commands(ctx), *lazy]

    def find(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().find(ctx, cmd_name)
        if command is None and cmd_name in self.list_commands(ctx):
            module, _, attribute = LAZY_COMMANDS[cmd_name].partition(":")
            command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_DataGroup)
def data() -> None:
    """Make, check and divide manifests.

    A manifest is the table of clips and labels that everything else reads.

    \b
    Example:
      thinslice data import-first-impressions downloads/first-impressions --out fi.csv
      thinslice data verify fi.csv
    """


@data.command(
    "import-first-impressions",
    epilog="""\b
Examples:
  thinslice data import-first-impressions downloads/fi --out fi.csv
  thinslice data import-first-impressions downloads/fi --out fi.csv --extract-to clips/ --password
""",
)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--out", required=True, type=_PATH, metavar="MANIFEST.csv", help="The manifest to write.")
@click.option(
    "--labels", multiple=True, type=_PATH, metavar="CSV", help="Further table to take for labels; repeatable."
)
@click.option("--extract-to", type=_PATH, metavar="FOLDER", help="Extract media found only in ZIP archives to there.")
@click.option(
    "--password",
    prompt="Password of the archives",
    prompt_required=False,
    hide_input=True,
    envvar="THINSLICE_ZIP_PASSWORD",
    help="Of encrypted archives. Without a value, asked for; or in $THINSLICE_ZIP_PASSWORD.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with every missing clip.")
def import_first_impressions_command(
    folder: Path, out: Path, labels: tuple[Path, ...], extract_to: Path | None, password: str | None, as_json: bool
) -> None:
    """Make a manifest of a First Impressions download.

    DIR holds V1 or V2, whole or in part, unpacked or not. Labels, transcripts and media are found by name anywhere
    below DIR, also in archives within archives. What is missing is listed. Exits with 1 if something could not be read;
    the rest is still in the manifest.
    """
    from thinslice.data.first_impressions import import_first_impressions

    with progress("extract", in_bytes=True) as step:
        imported = import_first_impressions(
            folder, labels=labels, password=password, extract_to=extract_to, on_extracted=step
        )
    finish_import(imported, out, as_json)


@data.command(
    "verify",
    epilog="""\b
Examples:
  thinslice data verify fi.csv --workers 2
  thinslice data verify fi.csv --decode full --json > findings.json
""",
)
@click.argument("manifest", type=_PATH)
@click.option(
    "--decode",
    "depth",
    type=click.Choice(["none", "quick", "full"]),
    default="quick",
    show_default=True,
    help="How much of each file to decode; quick is the first picture and second of sound.",
)
@click.option("--no-media", is_flag=True, help="Check the table only.")
@workers_option
@click.option(
    "--memory", type=_PATH, metavar="FILE", help="Where results are kept for the next run; else in the cache."
)
@click.option("--fresh", is_flag=True, help="Look at every file again, ignoring what an earlier run found.")
@click.option("--out", type=_PATH, metavar="CSV", help="Write findings, one row per clip.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with every clip concerned.")
def verify_command(
    manifest: Path,
    depth: Any,
    no_media: bool,
    workers: int,
    memory: Path | None,
    fresh: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check the files, labels and media of a manifest.

    Files are compared with the official checksums, labels with their ranges and grid, and media are decoded. Also
    checked: duplicate clips, speakers in more than one split. An interrupted run continues where it stopped; a file is
    looked at again when its size or time has changed. Exits with 1 if a finding is an error. MANIFEST may also be a
    table of votes or ratings.
    """
    from thinslice.assets.folders import cache_dir
    from thinslice.data.manifest import load_manifest
    from thinslice.data.verify import verify
    from thinslice.data.votes import is_answers

    if is_answers(manifest):
        _verify_answers(manifest, out, as_json)
        return
    table = load_manifest(manifest)
    memory = memory or cache_dir() / "verify.jsonl"
    with progress("verify") as step:
        verified = verify(
            table, depth=depth, media=not no_media, memory=memory, fresh=fresh, workers=workers, on_file=step
        )
    if out is not None:
        _write_findings(verified.findings, out)
    if as_json:
        _print_json({"manifest": str(manifest), "num_clips": len(table), "digest": table.digest} | verified.to_dict())
    else:
        _print_verified(table, verified, no_media)
    sys.exit(1 if verified.num_errors else 0)


def _verify_answers(path: Path, out: Path | None, as_json: bool) -> None:
    """Check votes or ratings; what makes them unreadable has already ended the command."""
    from thinslice.data.verify_votes import verify_answers
    from thinslice.data.votes import load_answers

    answers = load_answers(path)
    findings = verify_answers(answers)
    if out is not None:
        _write_findings(findings, out)
    if as_json:
        plain = [{"severity": f.severity, "check": f.check, "message": f.message, "clips": f.clips} for f in findings]
        _print_json({"answers": str(path), "num_clips": len(answers.clips), "ok": True, "findings": plain})
        return
    for finding in findings:
        click.echo(f"{finding.severity}: {finding.message}")
    click.echo(f"{path}: {counted(len(answers.clips), 'clip')}, questions {', '.join(answers.targets)}; readable")


@data.command(
    "resplit",
    epilog="""\b
Examples:
  thinslice data resplit fi.csv --out fi-disjoint.csv --seed 1 --save-split split.csv
  thinslice data resplit fi.csv --out folds.csv --folds 5 --seed 1
  thinslice data resplit fi.csv --out fi-theirs.csv --apply-split split.csv
""",
)
@click.argument("manifest", type=_PATH)
@click.option(
    "--out", required=True, type=_PATH, metavar="MANIFEST.csv", help="Manifest to write; with --folds several."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another split.")
@click.option(
    "--shares",
    default="train=3,validation=1,test=1",
    show_default=True,
    help="Splits and their parts, whole numbers.",
)
@click.option("--folds", type=click.IntRange(2, 1000), help="Cross-validation: K manifests, each clip in test once.")
@click.option("--only", metavar="SPLIT,...", help="Divide the clips of these splits and leave the others out.")
@click.option(
    "--save-split", type=_PATH, metavar="CSV", help="Also write clip, split, speaker without labels, to publish."
)
@click.option("--apply-split", type=_PATH, metavar="CSV", help="Take the splits from such a file instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def resplit_command(
    manifest: Path,
    out: Path,
    seed: int,
    shares: str,
    folds: int | None,
    only: str | None,
    save_split: Path | None,
    apply_split: Path | None,
    as_json: bool,
) -> None:
    """Divide a manifest so that no speaker is in two splits.

    The splits' label distributions are kept similar. The same seed gives the same split on every machine. --save-split
    writes it without labels, so that others can repeat your experiment with --apply-split; cite the file by the SHA-256
    printed.
    """
    from thinslice.data import splits as splitting
    from thinslice.data.manifest import load_manifest, save_manifest
    from thinslice.targets import split_names

    if apply_split and (folds or save_split):
        raise click.UsageError("--apply-split cannot be combined with --folds or --save-split")
    if folds and not shares.startswith("train=3,validation=1,test=1"):
        raise click.UsageError("--folds makes equal parts; leave out --shares")
    table = load_manifest(manifest)
    if only:
        rows = {split: table.select(split) for split in split_names(only, "--only")}  # names a split that is not there
        table = table.select([i for i, split in enumerate(table.splits) if split in rows])
    if apply_split:
        made = {out: splitting.apply_split(table, apply_split)}
    elif folds:
        parts = splitting.kfold(table, folds, seed)
        made = {_numbered(out, k + 1, folds): part for k, part in enumerate(parts)}
    else:
        made = {out: splitting.resplit(table, _parse_shares(shares), seed)}
    document: dict[str, Any] = {"seed": None if apply_split else seed, "manifests": []}
    for k, (path, part) in enumerate(made.items()):
        save_manifest(part, path)
        entry: dict[str, Any] = {"manifest": str(path), "digest": part.digest, "splits": _split_statistics(part)}
        if save_split:
            target = _numbered(save_split, k + 1, folds) if folds else save_split
            entry |= {"split_file": str(target), "split_sha256": splitting.save_split(part, target)}
        document["manifests"].append(entry)
    if as_json:
        _print_json(document)
    else:
        _print_splits(document)


def _numbered(path: Path, fold: int, num_folds: int) -> Path:
    return path.with_name(f"{path.stem}-fold{fold}of{num_folds}{path.suffix}")


def _parse_shares(text: str) -> dict[str, int]:
    shares = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        if not name.strip() or not share.strip().isdecimal():
            raise click.UsageError(f"--shares {text}: write names and whole numbers, such as train=80,test=20")
        if name.strip() in shares:
            raise click.UsageError(f"--shares {text}: {name.strip()} is named twice; name it once")
        shares[name.strip()] = int(share)
    return shares


def _split_statistics(manifest: "Manifest") -> dict[str, dict[str, Any]]:
    """Return split -> clips, speakers and the mean of each target, to see that the splits are alike."""
    import numpy as np

    from thinslice.traits import TARGETS

    labels = manifest.labels(TARGETS)
    out: dict[str, dict[str, Any]] = {}
    for split in dict.fromkeys(sorted(manifest.splits, key=_split_order)):
        mask = manifest.column("split") == split
        speakers = {speaker for speaker, mine in zip(manifest.speakers, mask, strict=True) if mine}
        known = {name: column[~np.isnan(column)] for name, column in zip(TARGETS, labels[mask].T, strict=True)}
        means = {name: round(float(column.mean()), 4) for name, column in known.items() if len(column)}
        out[split] = {"clips": int(mask.sum()), "speakers": len(speakers), "means": means}
    return out


def _split_order(split: str) -> tuple[int, str]:
    from thinslice.data.manifest import SPLITS

    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def finish_import(imported: "Imported", out: Path, as_json: bool) -> None:
    """Write the manifest, say what is in it and what is missing, and exit."""
    from thinslice.data.manifest import save_manifest

    save_manifest(imported.manifest, out)
    if as_json:
        _print_json({"manifest": str(out)} | imported.to_dict())
    else:
        _print_imported(imported, out)
    for problem in imported.problems:
        warn(f"problem: {problem}")
    sys.exit(1 if imported.problems else 0)


def _print_imported(imported: "Imported", out: Path) -> None:
    from thinslice.data.first_impressions import NO_SPLIT

    manifest, counts = imported.manifest, imported.counts()
    for where, what in imported.read.items():
        say(f"read {where}: {what}")
    for why, files in _grouped(imported.not_read).items():
        say(f"not read: {_some(files)} ({why})")
    for note in imported.notes:
        say(f"note: {note}")
    columns = {"clips": "clips", "official": "official", "labelled": "with labels", "transcripts": "transcript"}
    columns["media"] = "media"
    if not any(row["official"] for row in counts.values()):  # clips of the user's own: nothing to compare with
        del columns["official"]
    rows = [(split, *(f"{row[key]:,}" for key in columns)) for split, row in counts.items()]
    _print_table(("split", *columns.values()), rows)
    if imported.in_archives:
        where = _some(list(imported.in_archives.values()))
        click.echo(
            f"{counted(len(imported.in_archives), 'clip')} in archives only; --extract-to FOLDER extracts them: {where}"
        )
    if imported.labels_without_media:
        missing = list(imported.labels_without_media)
        click.echo(f"{counted(len(missing), 'clip')} with labels but no media: {_some(missing)}")
    if imported.media_without_labels:
        files = list(imported.media_without_labels)
        click.echo(f"{counted(len(files), 'media file')} without labels: {_some(files)}")
    if set(manifest.splits) == {NO_SPLIT}:
        say(f"no splits yet; thinslice data resplit {out} --out NEW.csv makes them, speakers apart")
    click.echo(f"wrote {out}: {_size(manifest)}, digest {manifest.digest[:12]}")


def _print_verified(manifest: "Manifest", verified: "Verified", no_media: bool) -> None:
    rows = [(finding.severity, finding.check, finding.message + _examples(finding)) for finding in verified.findings]
    if rows:
        _print_table(("severity", "check", "finding"), rows)
    counts = Counter(finding.severity for finding in verified.findings)
    if not no_media:
        again = f", {verified.num_remembered:,} of them by an earlier run" if verified.num_remembered else ""
        same = f"{verified.num_official:,} equal to the official ones, byte for byte"
        click.echo(f"{counted(verified.num_files, 'file')} looked at{again}; {same}")
    found = ", ".join(counted(counts[kind], kind) for kind in ("error", "warning", "note"))
    click.echo(f"{_size(manifest)}, digest {manifest.digest[:12]}: {found}")


def _size(manifest: "Manifest") -> str:
    return f"{counted(len(manifest), 'clip')} of {counted(len(set(manifest.speakers)), 'speaker')}"


def _examples(finding: "Finding") -> str:
    if len(finding.clips) < 2 and finding.severity == "error":
        return ""  # the message names the clip
    shown = ", ".join(finding.clips[:NUM_EXAMPLES])
    return f" ({shown}{', ...' if len(finding.clips) > NUM_EXAMPLES else ''})" if shown else ""


def _print_splits(document: dict[str, Any]) -> None:
    for entry in document["manifests"]:
        targets = dict.fromkeys(name for row in entry["splits"].values() for name in row["means"])
        rows = [
            (
                split,
                f"{row['clips']:,}",
                f"{row['speakers']:,}",
                *(f"{row['means'][t]:.3f}" if t in row["means"] else "" for t in targets),
            )
            for split, row in entry["splits"].items()
        ]
        _print_table(("split", "clips", "speakers", *(f"mean {name}" for name in targets)), rows)
        click.echo(f"wrote {entry['manifest']}, digest {entry['digest'][:12]}")
        if "split_file" in entry:
            click.echo(f"wrote {entry['split_file']}, SHA-256 {entry['split_sha256']}")


def _write_findings(findings: Sequence["Finding"], out: Path) -> None:
    from thinslice.data.table import format_table
    from thinslice.files import write_atomically

    rows = [
        (finding.severity, finding.check, clip, finding.message)
        for finding in findings
        for clip in finding.clips or ("",)
    ]
    text = format_table(("severity", "check", "clip", "message"), rows)
    write_atomically(out, text.encode("utf-8", "backslashreplace"))


def _grouped(reasons: Any) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return groups


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NUM_SHOWN])
    return f"{shown}, ... ({len(names) - NUM_SHOWN:,} more: --json)" if len(names) > NUM_SHOWN else shown


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(
            name, justify="left" if name in ("split", "severity", "check", "finding") else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    console.width = 500  # a file or a pipe: lines as long as the text
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_json(document: Any) -> None:
    print_json(document)
