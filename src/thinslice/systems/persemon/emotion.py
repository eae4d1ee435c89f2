"""What a trained PersEmoN says of emotion: of a clip's frames, of an emotion data set, and of its map to personality.

Source: Zhang, Peng, Winkler, sections 4.3, 4.5 and 4.6.4; figures by `thinslice.systems.persemon.figures`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.data.manifest import Manifest, load_manifest
from thinslice.errors import UsageError
from thinslice.evaluate.metrics import average, score
from thinslice.features.faces import extract_face_crops
from thinslice.features.frames import frame_times
from thinslice.features.store import open_reader
from thinslice.media.source import Source
from thinslice.systems import rebuild_recipe
from thinslice.systems.persemon.figures import Relationship
from thinslice.systems.persemon.network import COMPANION, EMOTIONS, PersEmoN
from thinslice.systems.persemon.variants import KINDS, kind_name
from thinslice.train.data import ClipData, random_state
from thinslice.train.export import load_trained
from thinslice.train.inputs import load_split
from thinslice.train.processes import Processes, find_device
from thinslice.train.recipe import Recipe
from thinslice.train.run import RunFolder
from thinslice.train.system import predict_system

CPU = torch.device("cpu")
AT_ONCE = 32
"""Faces that go through the network together."""
READ_AT_ONCE = 512
"""Faces in memory together."""


@dataclass(frozen=True)
class TrainedPersEmoN:
    """A trained system that knows emotion.

    Attributes:
        recipe: what was trained.
        model: with its final weights, in evaluation mode, on `device`.
        device: where to compute.
    """

    recipe: Recipe
    model: PersEmoN
    device: torch.device = CPU

    @property
    def has_relationship(self) -> bool:
        """Whether RAM was trained."""
        return any("ram" in update.trains for stage in self.recipe.stages for update in getattr(stage, "updates", ()))


@dataclass(frozen=True)
class ClipEmotion:
    """The emotion of a clip's frames.

    Attributes:
        times_s: (n,) of the frames, seconds.
        emotions: float64 (n, 2), valence and arousal, in (-1, 1).
        warnings: on the faces, one line each.
    """

    times_s: np.ndarray
    emotions: np.ndarray
    warnings: tuple[str, ...]


def load_system(run: Path, device: str = "auto") -> TrainedPersEmoN:
    """Return the system of a finished run on a device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: the run is another recipe's, or never learned emotion; no such device.
    """
    folder = RunFolder(run)
    document = folder.load()
    if document.recipe != "persemon":
        raise UsageError(f"{run}: is a run of {document.recipe}, which says nothing of emotion; give one of persemon")
    recipe = rebuild_recipe(document)
    if not any(COMPANION in getattr(stage, "companions", ()) for stage in recipe.stages):
        raise UsageError(f"{run}: variant {recipe.variant} was trained without emotion; train another one")
    place = find_device(device, Processes())
    model = load_trained(recipe, folder).to(place)
    assert isinstance(model, PersEmoN)
    return TrainedPersEmoN(recipe, model, place)


def emotion_of_clip(system: TrainedPersEmoN, clip: Path, num_frames: int = 60) -> ClipEmotion:
    """Return valence and arousal in evenly spread frames of a clip (section 3.1: "each video frame individually").

    Raises:
        UsageError: no frames asked for.
        MediaError: the clip cannot be read, or shows the speaker's face too seldom.
    """
    source = Source(clip)
    times = frame_times(source.duration_s, num_frames)
    params = system.recipe.companions[COMPANION].features["face"].params
    faces = extract_face_crops(source, list(times), str(params["reference"]), str(params["detector"]))
    return ClipEmotion(times, emotions_of(system, features_of(system, faces)), tuple(source.warnings))


def features_of(system: TrainedPersEmoN, faces: np.ndarray) -> np.ndarray:
    """Return FEM's features, float32 (n, d), of uint8 faces (n, 112, 96, 3)."""
    with torch.no_grad():
        parts = torch.from_numpy(np.ascontiguousarray(faces)).split(AT_ONCE)
        return torch.cat([system.model.features(part.to(system.device)).cpu() for part in parts]).numpy()


def emotions_of(system: TrainedPersEmoN, features: np.ndarray) -> np.ndarray:
    """Return valence and arousal, float64 (n, 2), of features (n, d)."""
    with torch.no_grad():
        told = system.model.emotion(torch.from_numpy(features).to(system.device))
    return told.cpu().numpy().astype(np.float64)


def relationship_of(system: TrainedPersEmoN) -> Relationship:
    """Return RAM as a function of valence and arousal (n, 2); UsageError where it was not trained."""
    if not system.has_relationship:
        raise UsageError(
            f"variant {system.recipe.variant} was trained without RAM: nothing leads from emotion to traits"
        )

    def relationship(emotions: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            points = torch.from_numpy(np.asarray(emotions, np.float32)).to(system.device)
            told = system.model.relationship(points[:, None])
        return told.cpu().numpy().astype(np.float64)

    return relationship


def open_pictures(system: TrainedPersEmoN, manifest: Manifest, store: Path) -> ClipData:
    """Return the entries of an emotion manifest whose faces are stored; UsageError where none is."""
    specs = system.recipe.companions[COMPANION].features
    reader, _ = open_reader(store, specs, zip(manifest.clips, manifest.media, strict=True))
    stored = set(reader.clips)
    rows = [i for i, clip in enumerate(manifest.clips) if clip in stored]
    if not rows:
        raise UsageError(
            f"{store}: has no face of {manifest.source}; run: thinslice extract {manifest.source} --recipe persemon "
            f"--variant {system.recipe.variant} --companion {COMPANION} --store {store}"
        )
    return ClipData(tuple(manifest.clips[i] for i in rows), manifest.labels(EMOTIONS)[rows], EMOTIONS, reader)


def held_out_split(splits: Collection[str], manifest: Path) -> str:
    """Return "test", or else "validation"; UsageError where a manifest has neither, and so nothing not learned from."""
    for split in ("test", "validation"):
        if split in splits:
            return split
    raise UsageError(
        f"{manifest}: no entry is for testing or validation; make such splits with: thinslice data resplit"
    )


def score_pictures(run: Path, manifest: Path, store: Path, split: str) -> dict[str, dict[str, float]]:
    """Score a finished run's emotions on held-out pictures, see `score_emotions`.

    Args:
        run: its folder.
        manifest: of the emotion data.
        store: where their faces are.
        split: of the pictures; where there is no such split, "validation".

    Returns:
        Metric -> name -> score; empty where the manifest holds out no pictures.
    """
    table = load_manifest(manifest)
    chosen = next((name for name in (split, "validation") if name in table.splits), None)
    if chosen is None:
        return {}
    system = load_system(run)
    pictures = open_pictures(system, table.select(chosen), store)
    return score_emotions(pictures.labels, emotions_of(system, features_of_pictures(system, pictures)))


def further_scores(
    run: Path,
    companions: Mapping[str, Path],
    store: Path,
    split: str,
    personality: Mapping[str, Mapping[str, float]],
) -> dict[str, Mapping[str, float]]:
    """Add PAM's own error, and the error of emotion on held-out pictures, to a run's scores (Tables 2, 5 and 6).

    A run that learned RAM is scored by PAM and RAM together, so that its error beside that of a run without RAM does
    not say what PAM gained. Under "PAM" every run has the error of PAM alone.

    Args:
        run: a finished run's folder.
        companions: the emotion data's manifest.
        store: where its faces are.
        split: of the clips and pictures; where the emotion manifest has no such split, "validation".
        personality: metric -> target -> score on clips, left out where the variant learned no personality.

    Returns:
        The same with "mse" of "PAM", the mean of the five traits, where the variant learned personality, and of
        "valence", "arousal" and "arousal_valence", the mean of both, where it learned emotion and the manifest has
        pictures of that split.
    """
    folder = RunFolder(run)
    kind = KINDS[kind_name(str(folder.load().arguments["variant"]))]
    out = dict(personality) if kind.personality else {}
    errors: dict[str, float] = {}
    if kind.personality:
        errors |= _error_of_pam(folder, store, split, personality)
    found = score_pictures(run, companions[COMPANION], store, split) if kind.emotion and COMPANION in companions else {}
    if found:
        mse = found["mse"]
        errors |= {"valence": mse["valence"], "arousal": mse["arousal"], "arousal_valence": mse["average"]}
    if errors:
        out["mse"] = {**out.get("mse", {}), **errors}
    return out


def _error_of_pam(
    folder: RunFolder, store: Path, split: str, personality: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return "PAM": the squared error of PAM's scores alone, mean of the five traits; nothing where it is not known."""
    document = folder.load()
    recipe = rebuild_recipe(document)
    if KINDS[kind_name(recipe.variant)].output == "pam":
        known = personality.get("mse", {})
        return {"PAM": known["average"]} if "average" in known else {}
    if not document.sessions or not document.sessions[-1].origin:  # Trained on data in memory.
        return {}
    clips = load_split(recipe, document, split, None, store)
    assert clips is not None  # The run was scored on them.
    device = find_device("auto", Processes())
    model = load_trained(recipe, folder).to(device)
    alone = replace(recipe, predict=_scores_of_pam)
    scores = predict_system(alone, folder, model, clips, "test", seed=document.seed, device=device)
    error = float(average(score(clips.labels, scores)["mse"], recipe.outputs))
    return {"PAM": error} if np.isfinite(error) else {}


def _scores_of_pam(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, PersEmoN)
    return model.scores(inputs["faces"])[0]


def features_of_pictures(
    system: TrainedPersEmoN, pictures: ClipData, chosen: Sequence[int] | None = None
) -> np.ndarray:
    """Return FEM's features (n, d) of the entries of an emotion data set, of all or of some, read in small parts."""
    sample = system.recipe.companions[COMPANION].sample
    rows = list(range(len(pictures)) if chosen is None else chosen)
    parts = []
    for start in range(0, len(rows), READ_AT_ONCE):
        faces = [
            sample(pictures.reader(i), "test", random_state(0))["face"] for i in rows[start : start + READ_AT_ONCE]
        ]
        parts.append(features_of(system, np.stack(faces)))
    return np.concatenate(parts)


def features_of_clips(system: TrainedPersEmoN, clips: ClipData, chosen: Sequence[int] | None = None) -> np.ndarray:
    """Return FEM's features (n, K, d) of clips, all or some, as validation sees them."""
    sample = system.recipe.sample
    rows = [
        features_of(system, sample(clips.reader(i), "validation", random_state(0))["faces"][0])
        for i in (range(len(clips)) if chosen is None else chosen)
    ]
    return np.stack(rows)


def score_emotions(labels: np.ndarray, told: np.ndarray) -> dict[str, dict[str, float]]:
    """Return metric -> "valence", "arousal" and their mean: mse (section 4.1), pcc, ccc and r2.

    Args:
        labels: (n, 2), NaN where unknown.
        told: (n, 2).
    """
    values = score(labels, told)
    out = {}
    for metric in ("mse", "pcc", "ccc", "r2"):
        row = {name: float(value) for name, value in zip(EMOTIONS, values[metric], strict=True)}
        out[metric] = {**row, "average": float(np.mean(list(row.values())))}
    return out
