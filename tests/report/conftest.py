"""A fixture that parses HTML into a tree."""

import pytest
from helpers import pages


@pytest.fixture
def parse():
    """Return a function from HTML text to the root node."""
    return pages.parse
