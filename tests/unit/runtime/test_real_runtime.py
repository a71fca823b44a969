"""What only the real runtime can do wrong: threads, file descriptors, signals and the memory of forked children."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import uvloop

from orderbook.server.runtime import AsyncioRuntime, ForkedJobFailed
from unit.runtime.driving import LoopDriver


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def driver(request):
    driver = LoopDriver(request.param)
    yield driver
    driver.close()


def forked(driver, job):
    answers = []
    driver.start(lambda: driver.runtime.fork(job, answers.append))
    driver.run_until(lambda: bool(answers))
    return answers[0]


def run_program(source):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", source]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, text=True, check=False)


def test_two_runtimes_draw_different_numbers(driver):
    other = LoopDriver(asyncio.new_event_loop)
    assert driver.runtime.random.getrandbits(128) != other.runtime.random.getrandbits(128)
    other.close()


def test_the_wall_clock_is_this_machines(driver):
    assert abs(driver.runtime.wall_ms() - time.time() * 1000) < 1000


def test_a_spawned_task_carries_its_name_and_is_kept_alive_only_while_it_runs(driver):
    tasks = []

    async def nothing():
        pass

    driver.start(lambda: tasks.append(driver.runtime.spawn(nothing(), "a name")))
    assert tasks[0].get_name() == "a name"
    driver.run_until(lambda: tasks[0].done() and not driver.runtime._tasks)


def test_a_worker_runs_off_the_loop_and_answers_on_it(driver):
    threads = []
    driver.start(
        lambda: driver.runtime.worker("elsewhere").submit(
            threading.current_thread, lambda result, error: threads.extend([result, threading.current_thread()])
        )
    )
    driver.run_until(lambda: bool(threads))
    assert threads[0].name == "elsewhere"
    assert threads[1] is threading.current_thread()


def test_a_closed_worker_finishes_its_jobs_and_ends_its_thread(driver):
    finish = threading.Event()
    seen = []
    worker = driver.runtime.worker("ending")
    thread = next(thread for thread in threading.enumerate() if thread.name == "ending")
    driver.start(lambda: worker.submit(lambda: finish.wait(20), lambda result, error: seen.append(result)))
    worker.close()
    finish.set()
    driver.run_until(lambda: seen == [True])
    thread.join(20)
    assert not thread.is_alive()


def test_an_answer_for_a_loop_that_is_closed_is_dropped():
    driver = LoopDriver(asyncio.new_event_loop)
    finish = threading.Event()
    worker = driver.runtime.worker("late")
    thread = next(thread for thread in threading.enumerate() if thread.name == "late")
    worker.submit(finish.wait, lambda result, error: None)
    worker.close()
    driver.close()
    finish.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_job_that_takes_long_in_a_fork_does_not_block_the_loop(driver):
    reading, writing = os.pipe()
    answers, turns = [], []
    driver.start(lambda: driver.runtime.fork(lambda: os.read(reading, 1) and None, answers.append))
    driver.start(lambda: driver.runtime.call_later(0.01, turns.append, 1))
    driver.run_until(lambda: bool(turns))
    assert answers == []
    os.write(writing, b"x")
    driver.run_until(lambda: answers == [None])
    os.close(reading)
    os.close(writing)


def test_a_fork_sees_this_moments_memory_and_changes_only_its_own(driver, tmp_path):
    memory = [1, 2]

    def job():
        memory.append(3)
        (tmp_path / "seen").write_text(repr(memory))

    assert forked(driver, job) is None
    assert (tmp_path / "seen").read_text() == "[1, 2, 3]"
    assert memory == [1, 2]


def test_a_fork_works_while_threads_are_busy(driver):
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            sum(range(100))

    threads = [threading.Thread(target=spin) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert [forked(driver, lambda: None) for _ in range(5)] == [None] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_killed_child_is_an_error_that_names_the_signal(driver):
    error = forked(driver, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert isinstance(error, ForkedJobFailed)
    assert "SIGKILL" in str(error)


def test_a_child_that_leaves_by_itself_is_an_error(driver):
    assert "exit code 7" in str(forked(driver, lambda: os._exit(7)))
    assert isinstance(forked(driver, lambda: sys.exit(0)), ForkedJobFailed)


def test_a_long_error_of_a_child_comes_back(driver):
    def job():
        raise ValueError("x" * 200_000 + "the end")

    assert "the end" in str(forked(driver, job))


def test_no_fork_leaves_a_descriptor_or_a_process_behind(driver):
    forked(driver, lambda: None)
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        forked(driver, lambda: None)
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_fork_that_the_system_refuses_is_an_error_of_the_job(driver, monkeypatch):
    def refuse():
        raise BlockingIOError("no process is left")

    monkeypatch.setattr(os, "fork", refuse)
    before = sorted(os.listdir("/proc/self/fd"))
    assert "no process is left" in str(forked(driver, lambda: None))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_connection_ends_when_the_parent_closes_it_though_a_child_lives(driver):
    one, other = socket.socketpair()
    other.settimeout(20)
    reading, writing = os.pipe()
    began_reading, began_writing = os.pipe()
    answers = []

    def job():
        os.write(began_writing, b"x")
        os.read(reading, 1)

    driver.start(lambda: driver.runtime.fork(job, answers.append))
    os.read(began_reading, 1)
    one.close()
    assert other.recv(1) == b""
    os.write(writing, b"x")
    driver.run_until(lambda: answers == [None])
    other.close()
    for descriptor in (reading, writing, began_reading, began_writing):
        os.close(descriptor)


CHILD_OF_A_DYING_PARENT = """
import asyncio, os, signal, sys, time
from orderbook.server.runtime import AsyncioRuntime

async def main():
    runtime = AsyncioRuntime(print)
    began, told = os.pipe()
    def job():
        os.write(told, str(os.getpid()).encode())
        time.sleep(60)
    runtime.fork(job, print)
    print(os.read(began, 20).decode(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_child_dies_with_its_parent():
    child = int(run_program(CHILD_OF_A_DYING_PARENT).stdout)
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and _state(child) not in "ZX":
        assert time.monotonic() < deadline, f"child {child} still runs"
        time.sleep(0.005)


def _state(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


CHILD_WITH_BUFFERS = """
import asyncio, atexit, sys
from orderbook.server.runtime import AsyncioRuntime

async def main():
    runtime = AsyncioRuntime(print)
    done = asyncio.get_running_loop().create_future()
    runtime.fork(lambda: None, done.set_result)
    assert await done is None

atexit.register(print, "at exit")
sys.stdout.write("buffered\\n")
asyncio.run(main())
"""


def test_a_child_flushes_no_shared_buffer_and_runs_no_exit_handler():
    run = run_program(CHILD_WITH_BUFFERS)
    assert run.stderr == ""
    assert run.stdout == "buffered\nat exit\n"


def test_a_runtime_is_made_on_a_running_loop():
    with pytest.raises(RuntimeError):
        AsyncioRuntime(print)
