from __future__ import annotations

import threading
from pathlib import Path

import pytest

from meetviz_site.local.secrets import SecretError, read_or_create_secret


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret_key"
    secret = read_or_create_secret(path)
    assert len(secret) >= 50
    assert read_or_create_secret(path) == secret
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["secret_key"]


def test_everyone_who_asks_at_the_same_moment_gets_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    gate = threading.Barrier(16)
    got: list[str] = []

    def ask() -> None:
        gate.wait()
        got.append(read_or_create_secret(path))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 16
    assert set(got) == {path.read_text()}
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]


def test_a_secret_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    path.write_text("x" * 50)
    path.chmod(0o644)
    assert read_or_create_secret(path) == "x" * 50
    assert mode(path) == 0o600


@pytest.mark.parametrize("content", ["", "short\n"])
def test_a_file_without_a_usable_secret_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret_key"
    path.write_text(content)
    with pytest.raises(SecretError, match="secret_key"):
        read_or_create_secret(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretError, match=r"Start MeetViz as|Set MEETVIZ_HOME"):
        read_or_create_secret(tmp_path / "file" / "secret_key")
