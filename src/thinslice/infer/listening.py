"""Before a sound is scored: where in it somebody begins to speak, and whether it is like the voices trained on.

Thresholds are measured on real clips, as they are and with silence, noise and music before them (docs/media.md).
"""

from typing import Final

import numpy as np

from thinslice.errors import MediaError
from thinslice.features.kaiser import resample_kaiser
from thinslice.features.mains_hum import mains_hum
from thinslice.features.typical_voices import loudness_db, share_nearer, typical_db, unlikeness
from thinslice.features.voice import HEARD_S, RATE_HZ, extract_voice_profile, voice_profile
from thinslice.media.mixing import is_silent
from thinslice.media.source import Source

PAUSES: Final = ((40.0, 1.0), (30.0, 3.0))
"""A start so many decibels below the loud parts, and of so many seconds or more, is skipped."""
SHORTEST_REST_S: Final = 2.0
"""Nothing is skipped where less sound would be left."""
QUIET_DB: Final = 7.0
"""A sound so far below the typical training clip is reported: a score may have moved by a tenth of its interval."""
MOVE_PER_DB: Final = 0.005
"""How far the score that moves most moves for each dB of level, on average over the training clips (docs/media.md)."""
LITTLE_S: Final = 2.0
"""Less sound than this is reported: it moves a score as far as a recording that is 7 dB too quiet."""
HUM_DB: Final = -19.0
"""A mains hum louder than this, in dB of the whole sound, is reported; the real clips reach -21.7 (docs/media.md)."""
_STEP_S: Final = 0.5
_VOICE: Final = 0.6
_PERHAPS_VOICE: Final = 0.75  # Nine in ten training clips are less unlike the mean voice than this.
_BLOCK_S: Final = 0.01
_CLIPPED: Final = 0.005
_OFFSET: Final = 0.1
_LATE_S: Final = 0.5


def find_first_speech(source: Source) -> float:
    """Return how many seconds of a window to skip: silence, or sound that is not a voice, before one; usually 0.

    A quiet start is found by its level. Music and noise are found by a voice profile that is unlike those of 99% of the
    training clips where one that begins later is like them.
    """
    try:
        rate = source.audio_rate_hz
        samples = source.audio(None, HEARD_S)
        pause_s = _pause_s(samples, rate)
        if pause_s > HEARD_S / 2 or is_silent(samples):  # What is loud may come later.
            samples = source.audio()
            pause_s = _pause_s(samples, rate)
        if pause_s:
            rest_s = source.info.duration_s - source.start_s - pause_s
            return pause_s if rest_s >= SHORTEST_REST_S else 0.0
        if share_nearer(extract_voice_profile(source)[None])[0] < 0.99:
            return 0.0
        return _first_voice_s(resample_kaiser(source.audio(), rate, RATE_HZ))
    except MediaError:
        return 0.0  # Whoever needs the sound says why there is none.


def judge_sound(source: Source) -> list[str]:
    """Return what the user should know of a window's sound before believing scores from it, one line each."""
    try:
        profile = extract_voice_profile(source)
    except MediaError:
        return []
    heard_s = min(HEARD_S, source.duration_s)
    where = f"at {source.start_s:.3g}-{source.start_s + heard_s:.3g} s"
    lines = judge_profile(profile, where)
    if source.audio_lead_s >= _LATE_S:
        lines.append(f"the sound starts {source.audio_lead_s:.1f} s late; until then there is silence")
    lead_s, rate = source.audio_lead_s, source.audio_rate_hz
    samples = source.audio(None, lead_s + HEARD_S)[round(lead_s * rate) :]
    sound_s = len(samples) / rate
    if sound_s < LITTLE_S:
        lines.append(
            f"only {sound_s:.1f} s of sound: a voice is judged by {HEARD_S:g} s where there are as many, and so little "
            "moves the score that moves most by about 0.03; give more of it"
        )
    mains_hz, hum_db = mains_hum(samples, rate)
    if hum_db > HUM_DB:
        lines.append(
            f"the sound {where} has a steady hum of {mains_hz} Hz and its multiples ({hum_db:.0f} dB of the sound), as "
            "mains cables add; scores from it are less certain: take it out, or record again"
        )
    if abs(np.mean(samples, dtype=np.float64)) > _OFFSET * np.std(samples, dtype=np.float64):
        lines.append(
            f"the sound {where} has a constant offset (DC), as a faulty sound card adds; scores from it are less "
            "certain: take it out, with ffmpeg -i IN -af highpass=f=20 OUT"
        )
    if np.mean(np.abs(samples) > 0.99) > _CLIPPED:
        lines.append(f"the sound {where} is clipped (recorded too loud); scores from it are less certain")
    return lines


def judge_profile(profile: np.ndarray, where: str = "of this voice profile") -> list[str]:
    """Return warnings of a voice profile (26,) that is unlike the training clips' or very quiet."""
    share = float(share_nearer(profile[None])[0])
    lines = []
    if share >= 0.999:
        lines.append(
            f"the sound {where} is unlike any voice trained on (silence, music, noise, a telephone?); "
            "the scores from it mean little"
        )
    elif share >= 0.99:
        lines.append(f"the sound {where} is unlike 99 of 100 voices trained on; the scores from it are uncertain")
    level_db = loudness_db(profile)
    below_db = typical_db() - level_db
    if below_db > QUIET_DB:
        lines.append(
            f"the sound {where} is quiet ({level_db:.0f} dB, {below_db:.0f} below the typical training clip); if the "
            f"recording made it so and not the speaker, that moves scores by about {MOVE_PER_DB * below_db:.2f}"
        )
    return lines


def _pause_s(samples: np.ndarray, rate_hz: int) -> float:
    """Return how long a sound is quiet at its start, seconds; 0 where that is short."""
    block = round(_BLOCK_S * rate_hz)
    count = len(samples) // block
    if not count:
        return 0.0
    power = np.square(samples[: count * block], dtype=np.float64).reshape(count, block).mean(axis=1)
    level_db = 10 * np.log10(power + 1e-12)
    loud_db = np.percentile(level_db, 95)
    for depth_db, shortest_s in PAUSES:
        quiet_s = float(np.argmax(level_db > loud_db - depth_db)) * _BLOCK_S
        if quiet_s >= shortest_s:
            return quiet_s - _BLOCK_S * 10
    return 0.0


def _first_voice_s(samples: np.ndarray) -> float:
    """Return the first start from which a sound at `RATE_HZ` is like a voice trained on; 0 where none is."""
    starts_s = np.arange(_STEP_S, len(samples) / RATE_HZ - SHORTEST_REST_S, _STEP_S)
    least, found_s = _PERHAPS_VOICE, 0.0
    for start_s in starts_s:
        first = round(start_s * RATE_HZ)
        value = float(unlikeness(voice_profile(samples[first : first + round(HEARD_S * RATE_HZ)])[None])[0])
        if value <= _VOICE:
            return float(start_s)
        if value < least:
            least, found_s = value, float(start_s)
    return found_s
