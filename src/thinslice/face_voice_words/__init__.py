"""The bundled model of face, voice and words: what it computes, and the trainer that made it."""

from thinslice.face_voice_words.model import MODES, FaceVoiceWords, load_face_voice_words

__all__ = ["MODES", "FaceVoiceWords", "load_face_voice_words"]
