"""One planted clip: a drawn person who sways and speaks before a scene, as an mp4 file (H.264 and AAC)."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from thinslice.data.planted.drawing import Expression, draw_appearance, draw_person, render
from thinslice.data.planted.scene import draw_scene
from thinslice.data.planted.voice import RATE_HZ, draw_timbre, speak
from thinslice.files import atomic_path
from thinslice.media.audio import resample
from thinslice.traits import TRAITS

SWAY: Final = 0.0175
"""Amplitude of the sway of a person whose cue is 0, as a share of the picture's width."""

SWAY_PER_UNIT: Final = -0.45
"""Change of the amplitude's logarithm per standard unit of the cue."""

SOUND_RATE_HZ: Final = 44_100
NUM_OPENINGS: Final = 4
"""Mouth shapes between closed and open."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Size and length of the clips.

    Attributes:
        width: pixels, even.
        height: pixels, even.
        rate_hz: frames per second.
        duration_s: seconds.
        style: see `thinslice.data.planted.drawing.STYLES`.
    """

    width: int = 228
    height: int = 128
    rate_hz: int = 15
    duration_s: float = 4.0
    style: str = "shaded"


def write_clip(path: Path, cues: np.ndarray, speaker_seed: list[int], clip_seed: list[int], form: Format) -> None:
    """Draw, synthesise and encode a clip; the file appears only when complete.

    Args:
        path: the mp4 file.
        cues: float64 (5,), standard units, in the order of the traits; agreeableness is not shown.
        speaker_seed: of what stays the same in all clips of a speaker: face and timbre.
        clip_seed: of what does not: clothes, chair, light, scene, place, syllables, noise.
        form: size and length.
    """
    cue = dict(zip(TRAITS, cues.tolist(), strict=True))
    of_speaker, of_clip = np.random.default_rng(speaker_seed), np.random.default_rng(clip_seed)
    person, timbre = draw_person(of_speaker), draw_timbre(of_speaker)
    voice = speak(cue["neuroticism"], timbre, form.duration_s, of_clip)
    scene = draw_scene(cue["openness"], form.width, form.height, of_clip)
    head_px = form.height * of_clip.uniform(0.27, 0.32)
    margin = round(0.08 * form.width) + 2
    place = (
        form.width * (0.5 + of_clip.uniform(-0.15, 0.15)) + margin,
        form.height * of_clip.uniform(0.42, 0.48) + margin,
    )
    brows = of_clip.uniform(-1, 1)
    expressions = {
        (level, eyes): Expression(
            curvature=cue["extraversion"], opening=level / (NUM_OPENINGS - 1) * 0.8, lids=lids, brows=brows
        )
        for level in range(NUM_OPENINGS)
        for eyes, lids in enumerate((of_clip.uniform(0.6, 0.95), 0.0))
    }
    size = (form.width + 2 * margin, form.height + 2 * margin)
    pictures = render(person, draw_appearance(of_clip), expressions, size, place, head_px, form.style)
    num_frames = round(form.duration_s * form.rate_hz)
    times = np.arange(num_frames) / form.rate_hz
    opening = voice.opening[np.minimum((times * RATE_HZ).astype(int), len(voice.opening) - 1)]
    amplitude = SWAY * form.width * np.exp(SWAY_PER_UNIT * cue["conscientiousness"])
    sway = amplitude * np.sin(2 * np.pi * (of_clip.uniform(0.7, 1.1) * times + of_clip.random()))
    nod = 0.004 * form.height * opening
    blinks = _blinks(times, of_clip)
    gain = np.exp(of_clip.normal(0, 0.05) + of_clip.normal(0, 0.015, 3)).astype(np.float32)
    grain = of_clip.uniform(1.0, 3.0)
    frames = []
    for i in range(num_frames):
        picture = pictures[round(float(opening[i]) * (NUM_OPENINGS - 1)), int(blinks[i])]
        person_now = _crop(picture, margin - sway[i], margin - nod[i], form.width, form.height)
        frame = (scene * (1 - person_now[..., 3:]) + person_now[..., :3]) * gain
        frame += grain * of_clip.standard_normal((form.height, form.width, 1), dtype=np.float32)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    sound = resample(voice.samples, RATE_HZ, SOUND_RATE_HZ)
    with atomic_path(path) as part:
        _encode(part, frames, form.rate_hz, sound)


def _crop(picture: np.ndarray, left: float, top: float, width: int, height: int) -> np.ndarray:
    """Return a window of a picture at a place between pixels, by linear interpolation."""
    x, y = int(left), int(top)
    right, down = np.float32(left - x), np.float32(top - y)
    rows = picture[y : y + height + 1, x : x + width + 1]
    rows = rows[:, :-1] * (1 - right) + rows[:, 1:] * right
    window: np.ndarray = rows[:-1] * (1 - down) + rows[1:] * down
    return window


def _blinks(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return bool (n,): whether the eyes are shut; about every three seconds for a sixth of one."""
    shut = np.zeros(len(times), bool)
    next_s = rng.uniform(0, 3)
    while len(times) and next_s < times[-1]:
        shut |= (times >= next_s) & (times < next_s + 0.16)
        next_s += rng.uniform(2, 4)
    return shut


def _encode(path: Path, frames: list[np.ndarray], rate_hz: int, sound: np.ndarray) -> None:
    """Write pictures and sound; one thread, so that a seed gives the same bytes."""
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate_hz, options={"crf": "21", "preset": "veryfast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono", options={"aac_coder": "fast"})
        audio.codec_context.bit_rate = 96_000
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(video.encode())
        for begin in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, begin : begin + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE_HZ, begin, Fraction(1, SOUND_RATE_HZ)
            container.mux(audio.encode(frame))
        container.mux(audio.encode())
