"""What in a clip moved its scores."""
