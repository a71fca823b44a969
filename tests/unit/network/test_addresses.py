import pytest

from orderbook.network.addresses import MAX_ADDRESSES, MAX_NAMES, MAX_PASSED_ON_BYTES, AddressBook, Source


@pytest.fixture
def book():
    return AddressBook("me")


def test_addresses_come_newest_first(book):
    assert book.learn("a", "x:1", Source.ANSWERED)
    assert book.learn("a", "x:2", Source.SERVICE)
    assert book.addresses("a") == ("x:2", "x:1")
    assert not book.learn("a", "x:1", Source.ANSWERED)
    assert book.addresses("a") == ("x:1", "x:2")


def test_hearsay_is_tried_last_and_moves_nothing(book):
    book.learn("a", "x:1", Source.ANSWERED)
    book.learn("a", "x:2", Source.ANSWERED)
    book.learn("a", "x:3", Source.HEARD)
    book.learn("a", "x:1", Source.HEARD)
    assert book.addresses("a") == ("x:2", "x:1", "x:3")


def test_an_address_that_the_records_repeat_stays_where_it_is(book):
    book.set_service({"a": ["x:1"]}, [])
    book.learn("a", "x:2", Source.ANSWERED)
    assert not book.set_service({"a": ["x:1"]}, [])
    assert book.addresses("a") == ("x:2", "x:1")
    assert book.set_service({"a": ["x:3"]}, [])
    assert book.addresses("a")[0] == "x:3"


def test_one_does_not_seek_oneself(book):
    assert not book.learn("me", "x:1", Source.STATIC)
    assert book.names() == ()


def test_an_address_without_a_name_gets_the_name_of_who_answers(book):
    assert book.add_unnamed("x:1", Source.STATIC)
    assert not book.add_unnamed("x:1", Source.STATIC)
    assert book.unnamed() == ("x:1",)
    assert book.answered("a", "x:1")
    assert book.unnamed() == ()
    assert book.addresses("a") == ("x:1",)
    assert book.is_configured("a")
    assert not book.add_unnamed("x:1", Source.STATIC)


def test_an_address_that_leads_back_to_oneself_is_sought_no_more(book):
    book.add_unnamed("x:1", Source.STATIC)
    book.answered("me", "x:1")
    assert book.unnamed() == ()
    assert book.name_of("x:1") == "me"
    assert not book.add_unnamed("x:1", Source.SERVICE)
    assert book.unnamed() == ()


def test_a_peer_that_answers_under_another_name_takes_the_address(book):
    book.learn("a", "x:1", Source.STATIC)
    book.learn("a", "x:2", Source.ANSWERED)
    assert book.answered("b", "x:1")
    assert book.addresses("a") == ("x:2",)
    assert book.addresses("b") == ("x:1",)
    assert book.is_configured("b")
    assert not book.is_configured("a")


def test_records_with_another_name_than_who_answers_are_not_believed_again(book):
    book.set_service({"10-0-0-7": ["x:1"]}, [])
    book.answered("a", "x:1")
    book.set_service({"10-0-0-7": ["x:1"]}, [])
    assert book.names() == ("a",)
    book.set_service({"a": ["x:2"]}, [])
    book.set_service({"b": ["x:1"]}, [])
    assert book.addresses("b") == ("x:1",)


def test_what_the_records_no_longer_hold_is_kept_as_hearsay(book):
    book.set_service({"a": ["x:1"]}, ["x:8"])
    book.set_service({"a": ["x:2"]}, ["x:9"])
    assert book.addresses("a") == ("x:2", "x:1")
    assert book.unnamed() == ("x:9",)
    book.set_service({}, [])
    assert not book.is_configured("a")
    assert book.addresses("a") == ("x:2", "x:1")


def test_hearsay_pushes_nothing_out(book):
    for number in range(MAX_ADDRESSES):
        book.learn("a", f"x:{number + 1}", Source.ANSWERED)
    assert not book.learn("a", "heard:1", Source.HEARD)
    assert len(book.addresses("a")) == MAX_ADDRESSES


def test_a_full_name_drops_its_least_trusted_and_oldest_address(book):
    book.learn("a", "configured:1", Source.STATIC)
    book.learn("a", "heard:1", Source.HEARD)
    for number in range(MAX_ADDRESSES):
        book.learn("a", f"x:{number + 1}", Source.ANSWERED)
    assert "heard:1" not in book.addresses("a")
    assert "x:1" not in book.addresses("a")
    assert "configured:1" in book.addresses("a")
    assert book.addresses("a")[0] == f"x:{MAX_ADDRESSES}"


def test_names_are_bounded_and_who_is_configured_has_a_place(book):
    for number in range(MAX_NAMES + 5):
        book.learn(f"heard{number}", "x:1", Source.HEARD)
    assert len(book.names()) == MAX_NAMES
    for number in range(MAX_NAMES + 5):
        book.learn(f"met{number}", "x:1", Source.ANSWERED)
    assert len(book.names()) == 2 * MAX_NAMES
    assert book.learn("configured", "x:1", Source.STATIC)


def test_what_is_passed_on_fits_into_a_message(book):
    book.learn("a", "x:1", Source.ANSWERED)
    book.learn("a", "x:2", Source.ANSWERED)
    book.learn("a", "x:3", Source.ANSWERED)
    assert book.entries() == [("a", "x:3"), ("a", "x:2")]
    for number in range(MAX_NAMES):
        book.learn(f"{number:0250}", "h" * 200 + ":1", Source.HEARD)
    assert sum(len(name) + len(address) for name, address in book.entries()) <= MAX_PASSED_ON_BYTES
    assert len(book.entries()) > 100


def test_a_forgotten_name_is_gone(book):
    book.learn("a", "x:1", Source.ANSWERED)
    book.forget("a")
    assert book.names() == ()
    assert book.name_of("x:1") is None
