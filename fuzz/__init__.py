"""Fuzzing with atheris: `python -m fuzz`."""
