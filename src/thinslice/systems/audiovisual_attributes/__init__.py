"""Faces, sound, and the age, gender and emotion that others see."""
