"""Which clips are scored together: all of them, and those whose speaker the system may know from training.

*official*: every labelled clip. *seen_speakers*: those whose speaker also has a clip in training. *unseen_speakers*:
the others. What a system scores on people it has not met is the last, and in First Impressions the official split
hides it: most of its test clips are of people who are in training.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

OFFICIAL: Final = "official"
SEEN: Final = "seen_speakers"
UNSEEN: Final = "unseen_speakers"
PROTOCOLS: Final = (OFFICIAL, SEEN, UNSEEN)


def is_seen(speakers: Sequence[str], train_speakers: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each clip's speaker has a clip in training, bool (n,)."""
    known = set(train_speakers)
    return np.array([name in known for name in speakers], dtype=bool)


def protocol_masks(
    speakers: Sequence[str], train_speakers: Sequence[str] | None
) -> dict[str, NDArray[np.bool_] | None]:
    """Return each protocol's clips, bool (n,); None for those that need training speakers where there are none.

    Args:
        speakers: of the scored clips.
        train_speakers: of the training clips, or None if nobody said what they were.
    """
    everyone = np.ones(len(speakers), dtype=bool)
    if train_speakers is None:
        return {OFFICIAL: everyone, SEEN: None, UNSEEN: None}
    seen = is_seen(speakers, train_speakers)
    return {OFFICIAL: everyone, SEEN: seen, UNSEEN: ~seen}
