"""Helpers of the tests say what differed, as the tests themselves do."""

import pytest

pytest.register_assert_rewrite("faults", "linearizability", "process", "simulation", "unit")
