"""Telling people: what is told, through which channels, and what they know already."""
