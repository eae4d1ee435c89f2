"""Sound and pictures of one time window of a media file."""
