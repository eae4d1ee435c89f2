"""The training clips of the bundled models: labels, transcripts and voice profiles of First Impressions V2."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.data.manifest import speaker_of
from thinslice.errors import ManifestError
from thinslice.features.voice import VOICE_PROFILE_COLUMNS
from thinslice.formats.python2_pickle import load_annotations, load_transcripts
from thinslice.traits import TARGETS
from thinslice.voice_words.spoken_words import split_words

FILES: Final = ("annotation_training.pkl", "transcription_training.pkl", "voice_profile_train.csv")


@dataclass(frozen=True)
class TrainingData:
    """The training clips, sorted by name.

    Attributes:
        clips: names.
        labels: float64 (n, 6), in the order of `thinslice.traits.TARGETS`.
        voice: float64 (n, 26), rows of NaN where a clip has none.
        transcripts: n texts, some empty.
        speakers: int (n,), number of the clip's speaker.
        digests: file -> sha256.
    """

    clips: tuple[str, ...]
    labels: np.ndarray
    voice: np.ndarray
    transcripts: tuple[str, ...]
    speakers: np.ndarray
    digests: Mapping[str, str]

    @cached_property
    def words(self) -> list[tuple[str, ...]]:
        """The words of each transcript."""
        return [tuple(word.text for word in split_words(text)) for text in self.transcripts]

    def subset(self, rows: np.ndarray) -> "TrainingData":
        """Return some of the clips."""
        return TrainingData(
            tuple(self.clips[row] for row in rows),
            self.labels[rows],
            self.voice[rows],
            tuple(self.transcripts[row] for row in rows),
            self.speakers[rows],
            self.digests,
        )


def load_training_data(data_dir: Path) -> TrainingData:
    """Read the three files of the training split.

    Raises:
        ManifestError: a file is missing, or is not what its name says.
    """
    for name in FILES:
        if not (data_dir / name).is_file():
            raise ManifestError(f"{data_dir / name}: missing; the folder must hold {', '.join(FILES)}")
    annotations = load_annotations(data_dir / FILES[0])
    texts = load_transcripts(data_dir / FILES[1])
    profiles = _load_profiles(data_dir / FILES[2])
    clips = tuple(sorted(annotations[TARGETS[0]]))
    _, speakers = np.unique([speaker_of(clip) for clip in clips], return_inverse=True)
    return TrainingData(
        clips=clips,
        labels=np.array([[annotations[target][clip] for target in TARGETS] for clip in clips]),
        voice=np.array([profiles.get(clip, [np.nan] * len(VOICE_PROFILE_COLUMNS)) for clip in clips]),
        transcripts=tuple(texts.get(clip, "") for clip in clips),
        speakers=speakers,
        digests={name: hashlib.sha256((data_dir / name).read_bytes()).hexdigest() for name in FILES},
    )


def _load_profiles(path: Path) -> dict[str, list[float]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"clip", *VOICE_PROFILE_COLUMNS} - set(reader.fieldnames or ())
        if missing:
            raise ManifestError(f"{path}: no column {', '.join(sorted(missing))}")
        try:
            return {row["clip"]: [float(row[name]) for name in VOICE_PROFILE_COLUMNS] for row in reader}
        except (TypeError, ValueError) as error:
            raise ManifestError(f"{path}: {error}") from None
