"""Statutes and past answers: found, quoted, and citations checked against the law in force."""
