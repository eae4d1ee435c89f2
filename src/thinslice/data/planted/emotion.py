"""Drawn faces with valence and arousal, for systems that learn emotion beside personality.

    valence = 0.4 (sqrt(R2) v + sqrt(1 - R2) e), shown by the curvature of the mouth, as extraversion is in the clips
    arousal = the same of a cue a, shown by how far eyes and mouth are open and the eyebrows raised

with v, a and e independent and standard normal, cut off at +-2.5, and R2 as in the clips. So the planted map from
emotion to personality is: extraversion rises with valence, and no trait depends on arousal.
"""

import json
import os
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.data.manifest import SPLITS, Manifest, save_manifest
from thinslice.data.planted.causes import BEST_R2, LIMIT
from thinslice.data.planted.drawing import STYLES, Expression, draw_appearance, draw_person, render
from thinslice.data.planted.scene import draw_scene
from thinslice.data.splits import resplit
from thinslice.errors import UsageError
from thinslice.files import atomic_path, write_atomically

SD: Final = 0.4
"""Standard deviation of valence and of arousal."""

IMAGES_PER_PERSON: Final = 5


def planted_emotion(
    folder: str | os.PathLike[str], num_images: int, seed: int = 0, style: str = "sketch", size: int = 128
) -> Manifest:
    """Write PNG images of drawn faces, a manifest with columns valence and arousal, and what is planted.

    Args:
        folder: where to; files of the same names are replaced.
        num_images: how many, 15 or more; every five show one person, and no person is in two splits.
        seed: of everything.
        style: see `thinslice.data.planted.drawing.STYLES`; another one than the clips' makes a domain gap.
        size: side of an image, pixels.

    Returns:
        The manifest, as written to manifest.csv; its paths are images, not videos.

    Raises:
        UsageError: too few images, or an unknown style.
        ManifestError: the folder cannot be written.
    """
    from PIL import Image

    if num_images < IMAGES_PER_PERSON * len(SPLITS) or style not in STYLES:
        raise UsageError(f"{num_images} images in style {style!r}: take 15 or more, in one of {', '.join(STYLES)}")
    root = Path(folder)
    rng = np.random.default_rng([seed, 4])
    cues = np.clip(rng.normal(size=(num_images, 2)), -LIMIT, LIMIT)
    noise = rng.normal(size=cues.shape)
    labels = np.clip(SD * (np.sqrt(BEST_R2) * cues + np.sqrt(1 - BEST_R2) * noise), -1, 1).round(4)
    people = np.arange(num_images) // IMAGES_PER_PERSON
    speakers = tuple(f"drawn{person:05d}" for person in people.tolist())
    clips = tuple(f"{speaker}.{i % IMAGES_PER_PERSON:03d}.png" for i, speaker in enumerate(speakers))
    manifest = Manifest(
        clips=clips,
        paths=tuple(f"images/{clip}" for clip in clips),
        splits=("train",) * num_images,
        speakers=speakers,
        columns={
            name: tuple(f"{value:.4f}" for value in labels[:, k].tolist())
            for k, name in enumerate(("valence", "arousal"))
        },
        folder=root,
        source=str(root / "manifest.csv"),
    )
    manifest = resplit(manifest, seed=seed)
    (root / "images").mkdir(parents=True, exist_ok=True)
    for i, clip in enumerate(clips):
        # People of their own: the clips' speakers are drawn from seeds [seed, 1, ...].
        person = draw_person(np.random.default_rng([seed, 5, int(people[i])]))
        of_image = np.random.default_rng([seed, 6, i])
        valence, arousal = cues[i].tolist()
        expression = Expression(
            curvature=valence,
            opening=float(np.clip(0.4 + 0.2 * arousal + of_image.normal(0, 0.1), 0, 1)),
            lids=float(np.clip(0.6 + 0.2 * arousal, 0.05, 1.2)),
            brows=float(np.clip(0.4 * arousal, -1, 1)),
        )
        head_px = size * of_image.uniform(0.27, 0.33)
        centre = (size * (0.5 + of_image.uniform(-0.06, 0.06)), size * of_image.uniform(0.42, 0.48))
        drawn = render(person, draw_appearance(of_image), {0: expression}, (size, size), centre, head_px, style)[0]
        scene = draw_scene(float(of_image.normal()), size, size, of_image)
        picture = scene * (1 - drawn[..., 3:]) + drawn[..., :3]
        picture += of_image.uniform(1, 3) * of_image.standard_normal((size, size, 1), dtype=np.float32)
        with atomic_path(root / "images" / clip) as part:
            Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(part, "PNG")
    about = {
        "warning": "SYNTHETIC: drawn faces with made-up labels; nothing here is about people.",
        "arguments": {"images": num_images, "seed": seed, "style": style, "size": size},
        "causes": {"valence": "curvature of the mouth", "arousal": "opening of eyes and mouth, raised eyebrows"},
        "best_r2": {"valence": BEST_R2, "arousal": BEST_R2},
        "map_to_personality": "extraversion rises with valence; nothing else depends on either",
    }
    write_atomically(root / "planted_emotion.json", (json.dumps(about, indent=1) + "\n").encode())
    save_manifest(manifest, root / "manifest.csv")
    return manifest
