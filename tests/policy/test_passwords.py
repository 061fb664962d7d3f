from __future__ import annotations

import pytest

from streamrouter.policy.passwords import LEAST, MOST, NOW, SALT_BYTES, Cost, encode, fault_of, outdated, verify

SALT = bytes(range(SALT_BYTES))
CHEAP = Cost(n=16)


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("nine char", f"at least {LEAST}"),
        ("x" + "yz" * MOST, f"at most {MOST}"),
        ("Anna.Example", "not the name"),
        ("elpmaxE.annA", "not the name"),
        ("PASSWORD123", "first that anybody"),
        ("ababababab", "first that anybody"),
        ("correct horse", None),
        ("пароль из слов", None),
    ],
)
def test_which_passwords_are_taken(password: str, told: str | None) -> None:
    fault = fault_of(password, "anna.example")
    assert (fault is None) if told is None else (fault is not None and told in fault)


def test_what_is_kept_is_no_password_and_knows_its_own() -> None:
    kept = encode("correct horse", SALT, CHEAP)
    assert kept.startswith("scrypt$16$8$1$") and "horse" not in kept
    assert verify("correct horse", kept)
    assert not verify("correct horsE", kept) and not verify("", kept)
    assert kept == encode("correct horse", SALT, CHEAP) != encode("correct horse", SALT[::-1], CHEAP)


def test_the_parameters_of_now() -> None:
    assert (NOW.n, NOW.r, NOW.p) == (32_768, 8, 1)
    kept = encode("correct horse", SALT)
    assert verify("correct horse", kept) and not outdated(kept)
    assert outdated(encode("correct horse", SALT, CHEAP)) and outdated("what is this")


def test_any_text_can_be_a_password() -> None:
    for password in ("\ud800 half a pair", "nul \x00 inside", "🐴" * 10):
        assert verify(password, encode(password, SALT, CHEAP))


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "plain",
        "bcrypt$16$8$1$AAAA$AAAA",
        "scrypt$15$8$1$AAAA$" + "A" * 43 + "=",
        "scrypt$1073741824$8$1$AAAA$" + "A" * 43 + "=",  # 1 TiB
        "scrypt$16$8$1$AAAA$AAAA",
        "scrypt$16$8$1$%%%%$AAAA",
        "scrypt$x$8$1$AAAA$AAAA",
    ],
)
def test_what_was_not_made_here_is_nobodys_password(kept: str) -> None:
    assert not verify("", kept) and not verify("plain", kept)
