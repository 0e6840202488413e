"""Fixtures that several rooms share."""

import legalqa  # noqa: F401  (sets the quiet environment before any tool is imported)
