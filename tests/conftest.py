"""What holds for all tests: helpers say what differed, and no property is judged by how long an example takes."""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("faults", "linearizability", "process", "simulation", "unit")

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("busy machine")
