"""The networks and the NumPy model: data in, scores out."""
