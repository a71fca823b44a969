"""The sender's side of a snapshot's transfer: chunk by chunk, resumed, sent again, given up, told once."""

import pytest

from orderbook.groups.transfers import GIVE_UP_SECONDS, RESEND_SECONDS, SnapshotSender
from orderbook.storage import SnapshotInfo
from unit.groups.virtual_runtime import VirtualRuntime

CHUNK_BYTES = 1000
SIZE = 2 * CHUNK_BYTES + 100
FOLLOWER = 2


class HandWorker:
    """Jobs wait until a test runs them."""

    def __init__(self):
        self.jobs = []

    def submit(self, job, done):
        self.jobs.append((job, done))

    def run(self):
        jobs, self.jobs = self.jobs, []
        for job, done in jobs:
            try:
                result = job()
            except OSError as error:
                done(None, error)
            else:
                done(result, None)


class Files:
    def __init__(self):
        self.error = None

    def read_snapshot_file(self, info, offset, length):
        if self.error:
            raise self.error
        assert 0 <= offset < info.size
        return bytes(min(length, info.size - offset))


class Scene:
    def __init__(self):
        self.runtime = VirtualRuntime()
        self.worker = HandWorker()
        self.files = Files()
        self.sent, self.finished, self.failures = [], [], []
        self.sender = SnapshotSender(
            self.runtime,
            self.files,
            self.worker,
            CHUNK_BYTES,
            lambda to, offer, offset, data: self.sent.append((to, offer, offset, len(data))),
            lambda to, index, ok: self.finished.append((to, index, ok)),
            self.failures.append,
        )

    def take(self):
        """What is sent once the worker has read: (to, offset, length) each."""
        self.worker.run()
        sent, self.sent = self.sent, []
        return [(to, offset, length) for to, _, offset, length in sent]


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def info():
    return SnapshotInfo(9, 1, b"configuration", 3, SIZE)


def test_chunks_follow_what_the_receiver_holds_and_the_end_is_told_once(scene, info):
    scene.sender.start(FOLLOWER, info)
    assert scene.take() == [(FOLLOWER, 0, CHUNK_BYTES)]
    assert scene.take() == []
    scene.sender.progress(FOLLOWER, 9, CHUNK_BYTES, None)
    assert scene.take() == [(FOLLOWER, CHUNK_BYTES, CHUNK_BYTES)]
    scene.sender.progress(FOLLOWER, 9, 2 * CHUNK_BYTES, None)
    assert scene.take() == [(FOLLOWER, 2 * CHUNK_BYTES, 100)]
    scene.sender.progress(FOLLOWER, 9, SIZE, None)
    scene.sender.progress(FOLLOWER, 9, SIZE, None)
    assert scene.finished == [(FOLLOWER, 9, True)]
    assert scene.take() == []


def test_every_chunk_says_which_snapshot_it_is_of(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.worker.run()
    assert scene.sent[0][1] == info


def test_it_goes_on_where_the_receiver_broke_off(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    scene.sender.progress(FOLLOWER, 9, 2 * CHUNK_BYTES, None)
    assert scene.take() == [(FOLLOWER, 2 * CHUNK_BYTES, 100)]


def test_a_second_start_for_the_same_receiver_changes_nothing(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.sender.start(FOLLOWER, info)
    assert scene.take() == [(FOLLOWER, 0, CHUNK_BYTES)]


def test_receivers_do_not_wait_for_each_other(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.sender.start(3, info)
    scene.take()
    scene.sender.progress(3, 9, SIZE, None)
    scene.sender.progress(FOLLOWER, 9, CHUNK_BYTES, None)
    assert scene.finished == [(3, 9, True)]
    assert scene.take() == [(FOLLOWER, CHUNK_BYTES, CHUNK_BYTES)]


def test_words_about_another_snapshot_or_from_a_stranger_are_ignored(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    scene.sender.progress(FOLLOWER, 8, SIZE, None)
    scene.sender.progress(7, 9, SIZE, None)
    assert (scene.finished, scene.take()) == ([], [])


def test_a_chunk_without_an_answer_is_sent_again(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    scene.runtime.advance(RESEND_SECONDS)
    scene.sender.tick()
    assert scene.take() == []
    scene.runtime.advance(0.1)
    scene.sender.tick()
    assert scene.take() == [(FOLLOWER, 0, CHUNK_BYTES)]


def test_a_read_under_way_is_not_asked_for_twice(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.runtime.advance(5.0)
    scene.sender.tick()
    assert len(scene.worker.jobs) == 1


@pytest.mark.parametrize("answers", [False, True])
def test_a_receiver_that_gets_no_further_is_given_up(scene, info, answers):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    for _ in range(int(GIVE_UP_SECONDS)):
        scene.runtime.advance(1.0)
        if answers:
            scene.sender.progress(FOLLOWER, 9, 0, None)
        scene.sender.tick()
        scene.take()
        assert scene.finished == []
    scene.runtime.advance(1.0)
    scene.sender.tick()
    assert scene.finished == [(FOLLOWER, 9, False)]


def test_a_receiver_that_gets_on_slowly_is_not_given_up(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    for held in range(1, 6):
        scene.runtime.advance(GIVE_UP_SECONDS - 1)
        scene.sender.progress(FOLLOWER, 9, held, None)
        scene.sender.tick()
        scene.take()
    assert scene.finished == []


def test_a_problem_of_the_receiver_ends_the_transfer(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    scene.sender.progress(FOLLOWER, 9, 0, "no room")
    assert scene.finished == [(FOLLOWER, 9, False)]
    scene.sender.start(FOLLOWER, info)
    assert scene.take() == [(FOLLOWER, 0, CHUNK_BYTES)]


def test_a_file_that_can_not_be_read_ends_the_transfer_and_says_why(scene, info):
    scene.files.error = OSError("gone")
    scene.sender.start(FOLLOWER, info)
    scene.take()
    assert scene.finished == [(FOLLOWER, 9, False)]
    assert scene.failures == [scene.files.error]


def test_a_negative_offset_is_read_as_nothing(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.take()
    scene.sender.progress(FOLLOWER, 9, -5, None)
    assert scene.take() == [(FOLLOWER, 0, CHUNK_BYTES)]


def test_after_the_leadership_nothing_is_sent_or_told(scene, info):
    scene.sender.start(FOLLOWER, info)
    scene.sender.stop()
    assert scene.take() == []
    scene.sender.progress(FOLLOWER, 9, SIZE, None)
    scene.runtime.advance(100)
    scene.sender.tick()
    assert scene.finished == []
