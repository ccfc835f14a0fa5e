"""Recordings played back: what was on the screen when, how to begin in the middle, and who may see it."""
