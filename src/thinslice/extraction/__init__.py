"""Features of every clip of a manifest into a store, in processes of this machine or on a Ray cluster."""
