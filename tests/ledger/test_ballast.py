from __future__ import annotations

from pathlib import Path

from streamrouter.ledger.ballast import Ballast


def test_ballast_is_real_space_that_can_be_given_back(tmp_path: Path) -> None:
    ballast, file = Ballast(str(tmp_path / "l.db"), 8192), tmp_path / "l.db.ballast"
    assert ballast.restore()
    assert file.stat().st_size == 8192
    assert file.stat().st_blocks * 512 >= 8192
    ballast.free()
    ballast.free()
    assert not file.exists()
    assert ballast.restore() and ballast.restore()


def test_no_space_is_no_error(tmp_path: Path) -> None:
    too_much = Ballast(str(tmp_path / "l.db"), 1 << 62)
    assert not too_much.restore()
    assert list(tmp_path.iterdir()) == []
    assert not Ballast(str(tmp_path / "none" / "l.db"), 1).restore()
