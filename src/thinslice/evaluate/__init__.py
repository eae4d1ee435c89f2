"""Scores of a prediction file, beside what knows nothing of the clip. NumPy only."""
