"""Foreign bytes in, arrays out: readers that execute nothing of what they read."""
