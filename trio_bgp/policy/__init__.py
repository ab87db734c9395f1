"""Verdicts: which paths may be taken, and which receivers may have them."""
