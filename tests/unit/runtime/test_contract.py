import asyncio

import pytest
import uvloop

from unit.runtime.contract import CONTRACT, what_a_fork_writes_to_files_stays
from unit.runtime.driving import LoopDriver


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def driver(request):
    driver = LoopDriver(request.param)
    yield driver
    driver.close()


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_the_real_runtime_keeps(promise, driver):
    promise(driver)


def test_what_a_fork_writes_to_files_stays(driver, tmp_path):
    what_a_fork_writes_to_files_stays(driver, tmp_path)
