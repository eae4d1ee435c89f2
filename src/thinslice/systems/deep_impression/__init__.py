"""Deep Impression (Güçlütürk et al. 2016): raw sound and raw frames, end to end."""
