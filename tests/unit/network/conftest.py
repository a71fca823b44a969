import pytest

pytest.register_assert_rewrite("unit.network.channel_contract", "unit.network.members")

from unit.network.members import Members  # noqa: E402


@pytest.fixture
async def members():
    members = Members()
    yield members
    await members.close()
