"""Seeing and steering a running daemon: JSON over HTTP, metrics, a looking glass."""
