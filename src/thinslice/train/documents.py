"""What a run writes of itself, as typed values: run.json, each stage's done.json, scores.json."""

from typing import Any, Final, Literal

import msgspec

from thinslice.documents import Document

FORMAT: Final = 1


class CodeVersion(Document):
    """Which code ran: the package's version, and the digest of its source."""

    version: str
    source_sha256: str


class LabelFacts(Document):
    """The training labels, by target.

    Attributes:
        digest: sha256 of all of them.
        count: how many are known.
        mean: of these.
        deviation: their standard deviation.
        quantiles: 101 from 0 to 100%.
    """

    digest: str
    count: dict[str, int]
    mean: dict[str, float]
    deviation: dict[str, float]
    quantiles: dict[str, tuple[float, ...]]


class RunFacts(Document, kw_only=True):
    """What a run learns from.

    Attributes:
        num_clips: by split.
        labels: of the training clips.
        companions: entries of each companion data set.
        origin: digests and names of manifests and features, clips left out, whether they are synthetic.
    """

    num_clips: dict[str, int]
    labels: LabelFacts
    companions: dict[str, int] = msgspec.field(default_factory=dict)
    origin: dict[str, Any] = msgspec.field(default_factory=dict)


class RunSession(Document, kw_only=True):
    """One start or resumption of a run.

    Attributes:
        began: UTC, ISO 8601.
        command: as it was given.
        device: how many of what.
        settings: how it ran.
        environment: Python, machine, versions of packages.
        origin: where "manifest" and "store" were on that machine.
    """

    began: str
    command: tuple[str, ...]
    device: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    origin: dict[str, str] = msgspec.field(default_factory=dict)


class RunDocument(Document, kw_only=True):
    """A run.json.

    Attributes:
        format: `FORMAT`.
        recipe: its name.
        source: the file of a system that lives outside the package; "" for one of ours.
        arguments: that build the recipe again.
        resolved: all its settings, functions by their names.
        features: name -> spec and its digest.
        data: what it learns from.
        seed: of weights, order and crops.
        max_steps: optimiser steps of each stage at most; None for as many as the recipe says.
        code: which code began it.
        sessions: every start and resumption.
        status: "started" or "finished".
    """

    format: Literal[1] = FORMAT
    recipe: str
    source: str = ""
    arguments: dict[str, Any]
    resolved: Any
    features: dict[str, dict[str, Any]]
    data: RunFacts
    seed: int
    max_steps: int | None
    code: CodeVersion
    sessions: tuple[RunSession, ...] = ()
    status: str = "started"


class StageEnd(Document, kw_only=True):
    """A stage's done.json: how it ended.

    Attributes:
        format: `FORMAT`.
        keep: which weights the stage left; "" for none.
        steps: optimiser steps done.
        cut_short: whether a limit of steps ended it.
        accumulated: passes per optimiser step.
        taken: whether another run trained it, see `thinslice.train.shared_stages`.
        progress: best score and epoch, and whether patience ended it.
    """

    format: Literal[1] = FORMAT
    keep: Literal["best", "last", ""]
    steps: int
    cut_short: bool
    accumulated: int | None = None
    taken: bool = False
    progress: dict[str, float | bool | None] = msgspec.field(default_factory=dict)


class SplitScores(Document, forbid_unknown_fields=False):
    """The scores of one split; scores.json has those of every metric and target beside these.

    Attributes:
        num_clips: scored.
        accuracy: averaged over the targets.
        r2: likewise; None where the labels do not vary.
        residuals: target -> 10% and 90% quantiles of label minus score.
    """

    num_clips: int
    accuracy: float | None
    r2: float | None
    residuals: dict[str, tuple[float, float]]


class RunScores(Document, kw_only=True):
    """A scores.json: the final scores of each split, as read."""

    format: Literal[1] = FORMAT
    splits: dict[str, SplitScores]


def upgrade_run(data: dict[str, Any]) -> dict[str, Any]:
    """Return a run.json whose facts of origin may lie beside the counts, as thinslice 0.1 wrote them, as of today."""
    facts = data.get("data")
    if not isinstance(facts, dict) or "origin" in facts:
        return data
    known = {name: facts[name] for name in ("num_clips", "labels", "companions") if name in facts}
    origin = {name: value for name, value in facts.items() if name not in known}
    return {**data, "data": {**known, "origin": origin}}
