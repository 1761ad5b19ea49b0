"""Seconds and memory of single pictures and long batches."""
