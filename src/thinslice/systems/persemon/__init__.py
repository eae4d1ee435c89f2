"""PersEmoN (Zhang, Peng, Winkler): personality and emotion learned together from faces."""
