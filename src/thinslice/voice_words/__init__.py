"""The bundled model voice-words on NumPy, and the program that trains it."""
