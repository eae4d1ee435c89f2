"""Make examples/sample.mp4: a synthetic talking head of 15 s from lawful parts, and sample_spoken.txt, what it says.

The picture is the portrait of the astronaut Eileen Collins that scikit-image ships (`skimage.data.astronaut`; NASA,
public domain), animated; the voice is espeak-ng's; the words are ours. She never said them. See README.md here.
The text is not called sample.txt: predict would read that instead of listening.

    python examples/make_sample.py [--out FOLDER] [--check]

Needs: pip install scikit-image soxr 'thinslice[video,asr]', the asset face_landmarker and, for --check,
whisper-tiny.en (`thinslice assets`), and the program espeak-ng. It takes two to three minutes.
"""

import argparse
import subprocess
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import mediapipe as mp
import numpy as np
import soxr
from mediapipe.tasks.python import BaseOptions, vision
from scipy.ndimage import gaussian_filter1d
from skimage.data import astronaut

from thinslice.assets import find_asset

TEXT = (
    "Hi everyone, and welcome back to my kitchen! Today I am baking my grandmother's lemon cake, because it has been "
    "raining all week and I really need something sunny. It only takes five ingredients, so grab a bowl, and let's "
    "bake together."
)
CAPTION = "synthetic sample: animated NASA portrait, computer voice"
DURATION_S = 15.0
FRAME_RATE_HZ = 25
AUDIO_RATE_HZ = 44_100
SIZE = (640, 360)
CROP = (36, 4, 384, 216)
"""Left, top, width and height of the part of the portrait that is shown."""
SUPERSAMPLE = 2

UPPER_LIP_TO_TEETH = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
"""Landmarks along the inner edge of the lower lip, where the mouth opens."""
EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
"""Landmarks along the upper and the lower lid of both eyes, from left to right."""
CHIN = 152
FOREHEAD = 10
BLINKS_S = (1.1, 4.6, 7.2, 10.9, 13.4)
BLINK = (0.4, 0.9, 1.0, 0.75, 0.4, 0.15)
"""How far the lids are closed in the frames of one blink."""
MOUTH_RGB = (62, 22, 24)


def speak() -> np.ndarray:
    """Return the words spoken by espeak-ng, float32 at 44.1 kHz, padded to the clip's length."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "voice.wav")
        subprocess.run(["espeak-ng", "-v", "en-us+f3", "-s", "165", "-p", "55", "-w", path, TEXT], check=True)
        with wave.open(str(path)) as stream:
            rate_hz = stream.getframerate()
            samples = np.frombuffer(stream.readframes(stream.getnframes()), np.int16) / 32768.0
    samples = soxr.resample(samples, rate_hz, AUDIO_RATE_HZ, quality="VHQ")
    num = int(DURATION_S * AUDIO_RATE_HZ)
    lead = int(0.25 * AUDIO_RATE_HZ)
    if len(samples) + lead > num:
        raise SystemExit(f"the voice takes {len(samples) / AUDIO_RATE_HZ:.1f} s; shorten the text")
    room = np.random.default_rng(0).normal(size=num) * 3e-4  # no recording is digitally silent
    room[lead : lead + len(samples)] += 0.6 * samples / np.abs(samples).max()
    return room.astype(np.float32)


def loudness(samples: np.ndarray) -> np.ndarray:
    """Return how open the mouth is in each frame, in [0, 1], from the voice's level."""
    hop = AUDIO_RATE_HZ // FRAME_RATE_HZ
    level = np.sqrt((samples[: len(samples) // hop * hop].reshape(-1, hop) ** 2).mean(1))
    level = np.clip(level / np.percentile(level, 92) - 0.08, 0, 1) ** 0.8
    return gaussian_filter1d(level, 0.7)


def find_landmarks(picture: np.ndarray) -> np.ndarray:
    """Return the 478 landmarks of the face, (478, 2) in pixels of the picture."""
    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(str(find_asset("face_landmarker"))))
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        found = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture)))
    height, width = picture.shape[:2]
    return np.array([[mark.x * width, mark.y * height] for mark in found.face_landmarks[0]])


class Portrait:
    """The portrait with the few lines along which it moves; lengths are pixels of the enlarged crop."""

    def __init__(self) -> None:
        whole = astronaut()
        left, top, width, height = CROP
        self.scale = SIZE[0] * SUPERSAMPLE / width
        big = (SIZE[0] * SUPERSAMPLE, SIZE[1] * SUPERSAMPLE)
        crop = whole[top : top + height, left : left + width]
        self.image = cv2.resize(crop, big, interpolation=cv2.INTER_LANCZOS4)
        self.marks = (find_landmarks(whole) - (left, top)) * self.scale
        self.x, self.y = np.meshgrid(np.arange(big[0], dtype=np.float32), np.arange(big[1], dtype=np.float32))

    def frame(self, openness: float, lids: float, tilt_rad: float, shift: tuple[float, float]) -> np.ndarray:
        """Return one frame, uint8 (360, 640, 3) RGB.

        Args:
            openness: of the mouth, in [0, 1].
            lids: how far the eyes are closed, in [0, 1].
            tilt_rad: rotation of the head about the neck.
            shift: of the head, pixels of the portrait.
        """
        source_y = self._closed_lids(self.y, lids)
        source_y, gap = self._open_jaw(source_y, openness)
        face = cv2.remap(self.image, self.x, source_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        inside = np.array(MOUTH_RGB, np.float32)
        face = (face * (1 - gap[..., None]) + inside * gap[..., None]).astype(np.float32)
        head_x, head_y = self._moved_head(tilt_rad, shift)
        moved = cv2.remap(face, head_x, head_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        small = cv2.resize(np.clip(moved, 0, 255), SIZE, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small.round().astype(np.uint8))

    def _open_jaw(self, source_y: np.ndarray, openness: float) -> tuple[np.ndarray, np.ndarray]:
        """Move the lower lip and the chin down; the teeth stay. Returns where to look, and how much is gap."""
        line = self.marks[list(UPPER_LIP_TO_TEETH)]
        drop = 5.4 * self.scale * openness
        centre, half = line[:, 0].mean(), 0.5 * np.ptp(line[:, 0])
        lip_y = np.interp(self.x[0], line[:, 0], line[:, 1]).astype(np.float32)[None, :]
        across = (self.x - centre) / half
        lens = drop * np.clip(1 - across**2, 0, None) ** 0.8
        jaw = 0.85 * drop * np.exp(-((across / 1.7) ** 2))
        chin_y = self.marks[CHIN, 1]

        def falls(y: np.ndarray) -> np.ndarray:
            to_chin = _smooth((y - lip_y) / (chin_y - lip_y))
            below_chin = 1 - _smooth((y - chin_y) / (16 * self.scale))
            return np.where(y > lip_y, ((1 - to_chin) * lens + to_chin * jaw) * below_chin, 0.0)

        from_y = self.y - falls(self.y)
        for _ in range(4):
            from_y = self.y - falls(np.maximum(from_y, lip_y + 1e-3))
        soft = 1.2 * SUPERSAMPLE / 2
        below_teeth = _smooth((self.y - lip_y) / soft + 0.5)
        above_lip = _smooth((lip_y + lens - self.y) / soft + 0.5)
        opened = np.where((self.y > lip_y) & (lens + jaw > 0), np.maximum(from_y, lip_y), source_y)
        gap = below_teeth * above_lip * _smooth(lens / (1.5 * soft))
        return opened.astype(np.float32), gap.astype(np.float32)

    def _closed_lids(self, source_y: np.ndarray, lids: float) -> np.ndarray:
        """Draw the upper lids down: the skin between brow and lid stretches, the eye is covered."""
        moved = source_y.copy()
        for upper, lower in EYES:
            top, bottom = self.marks[list(upper)], self.marks[list(lower)]
            columns = self.x[0]
            is_eye = (columns >= top[0, 0]) & (columns <= top[-1, 0])
            open_y = np.interp(columns, top[:, 0], top[:, 1]) + 0.4 * self.scale
            shut_y = np.interp(columns, bottom[:, 0], bottom[:, 1]) + 0.3 * self.scale
            lid_y = (open_y + lids * np.clip(shut_y - open_y, 0, None))[None, :]
            brow_y = (open_y - 7.0 * self.scale)[None, :]
            stretched = brow_y + (self.y - brow_y) * (open_y[None, :] - brow_y) / (lid_y - brow_y)
            covers = is_eye[None, :] & (self.y > brow_y) & (self.y < lid_y)
            moved = np.where(covers, stretched, moved)
        return moved.astype(np.float32)

    def _moved_head(self, tilt_rad: float, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Turn and shift the head; the shoulders and the wall stay, what lies between gives way smoothly."""
        chin, forehead = self.marks[CHIN], self.marks[FOREHEAD]
        pivot = chin + np.array([0, 14 * self.scale])
        centre = 0.5 * (chin + forehead) - np.array([0, 12 * self.scale])
        radius = np.hypot((self.x - centre[0]) / 86, (self.y - centre[1]) / 92) / self.scale
        share = 1 - _smooth((radius - 0.95) / 0.75)
        share = share * (1 - _smooth((self.y - chin[1]) / (34 * self.scale)))
        offset_x, offset_y = self.x - pivot[0], self.y - pivot[1]
        cos, sin = np.cos(-tilt_rad), np.sin(-tilt_rad)
        turned_x = cos * offset_x - sin * offset_y - shift[0] * self.scale
        turned_y = sin * offset_x + cos * offset_y - shift[1] * self.scale
        from_x = self.x + share * (turned_x - offset_x)
        from_y = self.y + share * (turned_y - offset_y)
        return from_x.astype(np.float32), from_y.astype(np.float32)


def _smooth(t: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, without a kink between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def frames(samples: np.ndarray) -> list[np.ndarray]:
    """Return the clip's pictures."""
    portrait = Portrait()
    openness = loudness(samples)
    nod = gaussian_filter1d(openness, 6)
    lids = np.zeros(len(openness))
    for start_s in BLINKS_S:
        first = int(start_s * FRAME_RATE_HZ)
        lids[first : first + len(BLINK)] = BLINK
    pictures = []
    for index in range(len(openness)):
        time_s = index / FRAME_RATE_HZ
        tilt_rad = np.radians(0.9 * np.sin(0.9 * time_s) + 0.6 * np.sin(2.1 * time_s + 1))
        shift = (1.6 * np.sin(0.7 * time_s + 0.5), 1.8 * (nod[index] - 0.4) + 0.5 * np.sin(1.3 * time_s))
        picture = portrait.frame(float(openness[index]), float(lids[index]), tilt_rad, shift)
        _caption(picture)
        pictures.append(picture)
    return pictures


def _caption(picture: np.ndarray) -> None:
    """Write on the picture itself that it is synthetic."""
    strip = picture[-20:]
    strip[:] = (0.45 * strip).astype(np.uint8)
    place = (8, SIZE[1] - 6)
    cv2.putText(picture, CAPTION, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)


def write(path: Path, pictures: list[np.ndarray], samples: np.ndarray) -> None:
    """Write H.264 and AAC in an MP4 file."""
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        container.metadata["title"] = "thinslice sample: animated portrait, computer voice"
        container.metadata["comment"] = "NASA portrait of Eileen Collins (public domain); espeak-ng; not her words"
        video = container.add_stream("libx264", rate=FRAME_RATE_HZ)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        video.options = {"crf": "23", "preset": "slow", "threads": "1"}
        audio = container.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono")
        audio.bit_rate = 80_000
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE_HZ)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE_HZ, start, Fraction(1, AUDIO_RATE_HZ)
            container.mux(audio.encode(frame))
        container.mux(audio.encode())


def check(path: Path) -> None:
    """Say in how many frames a face is found, and what speech recognition hears."""
    from thinslice.features.asr import recognise
    from thinslice.media.source import Source

    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(str(find_asset("face_landmarker"))))
    with av.open(str(path)) as container, vision.FaceLandmarker.create_from_options(options) as landmarker:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        faces = [landmarker.detect(mp.Image(mp.ImageFormat.SRGB, image)).face_landmarks for image in images]
    print(f"{path.stat().st_size:,} bytes; a face in {sum(map(bool, faces))} of {len(faces)} frames")
    print(f"heard: {recognise(Source(path).audio(16_000))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--check", action="store_true", help="only look at the file that is there")
    arguments = parser.parse_args()
    path = arguments.out / "sample.mp4"
    if not arguments.check:
        samples = speak()
        write(path, frames(samples), samples)
        (arguments.out / "sample_spoken.txt").write_text(TEXT + "\n", encoding="utf-8")
    check(path)


if __name__ == "__main__":
    main()
