"""Fuzzing of the commands that read files: mutated real files, and what must come of them."""
