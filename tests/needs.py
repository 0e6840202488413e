"""Programs that only some tests need: without them these are skipped by name, unless every test has to run."""

import os
import shutil

import pytest


def program(*names: str, package: str) -> str:
    """Path of the first of ``names`` that is installed. Else skips the test, or fails it where LEGALQA_TEST_ALL is set."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found:
        return found
    missing = f"{names[0]} is not installed: apt-get install {package}"
    if os.environ.get("LEGALQA_TEST_ALL") == "1":
        pytest.fail(missing)
    pytest.skip(missing)
