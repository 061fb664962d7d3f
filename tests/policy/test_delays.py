from __future__ import annotations

from streamrouter.policy.delays import Delays


def test_the_first_mistakes_cost_nothing_then_each_doubles_the_wait() -> None:
    delays = Delays(free=3)
    waits = []
    for _ in range(8):
        waits.append(delays.wait_s(["anna"], 0.0))
        delays.failed(["anna"], 0.0)
    assert waits == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    for _ in range(40):
        delays.failed(["anna"], 0.0)
    assert delays.wait_s(["anna"], 0.0) == 900.0  # nobody is locked out for good
    assert delays.wait_s(["anna"], 899.0) == 1.0
    assert delays.wait_s(["anna"], 901.0) == 0.0


def test_others_do_not_wait_and_the_longest_wait_counts() -> None:
    delays = Delays(free=1)
    for _ in range(3):
        delays.failed(["anna", "10.0.0.1"], 0.0)
    delays.failed(["10.0.0.1"], 0.0)
    assert delays.wait_s(["bob"], 0.0) == delays.wait_s([], 0.0) == 0.0
    assert (delays.wait_s(["anna"], 0.0), delays.wait_s(["bob", "10.0.0.1"], 0.0)) == (4.0, 8.0)


def test_what_is_forgiven_or_long_ago_is_forgotten() -> None:
    delays = Delays(free=1)
    for _ in range(5):
        delays.failed(["anna", "bob"], 0.0)
    delays.forgiven("anna")
    delays.forgiven("nobody")
    assert delays.wait_s(["anna"], 0.0) == 0.0
    assert delays.wait_s(["bob"], 3601.0) == 0.0
    delays.failed(["bob"], 3602.0)
    assert delays.wait_s(["bob"], 3602.0) == 1.0


def test_a_try_that_was_no_mistake_does_not_forgive_those_before_it() -> None:
    delays = Delays(free=3)
    for _ in range(3):
        delays.failed(["10.0.0.1"], 0.0)
    delays.failed(["10.0.0.1"], 10.0)
    delays.taken_back("10.0.0.1")
    delays.taken_back("elsewhere")
    assert delays.wait_s(["10.0.0.1"], 10.0) == 0.0
    delays.failed(["10.0.0.1"], 10.0)
    assert delays.wait_s(["10.0.0.1"], 10.0) == 2.0
    once = Delays(free=1)
    once.failed(["anna"], 0.0)
    once.taken_back("anna")
    once.failed(["anna"], 0.0)
    assert once.wait_s(["anna"], 0.0) == 1.0


def test_the_table_is_bounded() -> None:
    delays = Delays(most=100, free=0)
    for number in range(1000):
        delays.failed([f"name-{number}"], 0.0)
    delays.failed(["name-950"], 0.0)
    assert delays.wait_s(["name-950"], 0.0) > 0 and delays.wait_s(["name-899"], 0.0) == 0
