"""Reports a person can look at."""
