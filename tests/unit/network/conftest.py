import pytest

from unit.network.members import Members


@pytest.fixture
async def members():
    members = Members()
    yield members
    await members.close()
