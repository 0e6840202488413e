"""Scores with floors and intervals, comparisons, reports."""
