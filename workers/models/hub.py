"""The Hugging Face hub's two questions that a download needs: what is in a repository, and the bytes of a file.

They are asked with httpx2, the client that `huggingface_hub` is made of, and not with `huggingface_hub` 2.4 itself:
`hf_hub_download` gives every attempt a file of its own and deletes it when the attempt fails (`file_download.py`,
`_download_to_tmp_and_move`), so nothing resumes; it reads HF_ENDPOINT and HF_HUB_OFFLINE once, when it is imported;
it reports progress in steps of 10 MB; it never compares a checksum; and its user-agent costs a request to the hub
of its own. Repositories that the hub keeps in Xet are served over plain HTTP with ranges as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

from workers.environment import setting
from workers.models.errors import ModelError, Trouble
from workers.models.store import fetching_forbidden

DEFAULT_ENDPOINT = "https://huggingface.co"
CONNECT_WITHIN_S = 3.0
READ_WITHIN_S = 20.0
"""Without a byte for so long a connection is given up and the rest asked for anew."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")

# It would log every address, and those of large files carry a signature that opens them.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class Interrupted(Exception):
    """The connection broke or the hub was busy for a moment: worth another try from where it stopped."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub describes it."""

    name: str
    size_bytes: int
    sha256: str = ""
    """Of large files (LFS, Xet)."""
    git_sha1: str = ""
    """Of small files: Git's own checksum of a blob."""

    @property
    def checksum(self) -> str:
        return self.sha256 or self.git_sha1


@dataclass(frozen=True, slots=True)
class Edition:
    """A repository at one commit."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]


class Checksum:
    """The sum of a file that comes in pieces, in the way in which the hub gave it, and as SHA-256 for our manifest."""

    def __init__(self, file: HubFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        # What Git hashes: a header, then the content.
        self._git = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self._sha256.update(piece)
        if not self._file.sha256:
            self._git.update(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def is_right(self) -> bool:
        """Whether all that came is the file that the hub meant."""
        return self.sha256 == self._file.sha256 if self._file.sha256 else self._git.hexdigest() == self._file.git_sha1


class Hub:
    """One conversation with the hub; a context manager."""

    def __init__(self) -> None:
        self.endpoint = setting("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
        self.host = urlsplit(self.endpoint).hostname or ""
        if urlsplit(self.endpoint).scheme not in ("http", "https") or not self.host:
            raise ModelError(Trouble.OFFLINE, f"HF_ENDPOINT must be an http(s):// address, not {self.endpoint!r}.")
        token = setting("HF_TOKEN")
        self._client = httpx2.Client(
            # A redirect to another host goes without the token (httpx2 drops it).
            headers={
                "User-Agent": "meetviz",
                # Compressed bytes would be other bytes than those that sizes, ranges and checksums are about.
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            timeout=httpx2.Timeout(READ_WITHIN_S, connect=CONNECT_WITHIN_S),
            follow_redirects=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._client.close()

    def edition(self, repository: str) -> Edition:
        """What the repository holds now. Raises ModelError, Interrupted."""
        self._check_reachable()
        with self._mapped_errors(repository, beginning=True):
            response = self._client.get(f"{self.endpoint}/api/models/{repository}", params={"blobs": "true"})
            self._check_status(response, repository)
            try:
                return _edition_of(repository, response.json())
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ModelError(
                    Trouble.REFUSED,
                    f"{self.endpoint} does not answer like the Hugging Face hub. Check HF_ENDPOINT and your proxy.",
                    endpoint=self.endpoint,
                ) from None

    @contextlib.contextmanager
    def open(self, edition: Edition, file: HubFile, first_byte: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The file's bytes: (where they really begin, pieces of them). A server may ignore the wish and begin at 0.

        Raises ModelError, Interrupted.
        """
        # The commit is part of the address: what comes after an interruption is of the same edition.
        url = f"{self.endpoint}/{edition.repository}/resolve/{edition.commit}/{quote(file.name)}"
        headers = {"Range": f"bytes={first_byte}-"} if first_byte else {}
        with (
            self._mapped_errors(edition.repository),
            self._client.stream("GET", url, headers=headers) as response,
        ):
            self._check_status(response, edition.repository)
            # In pieces as they come: a size of our own would hold bytes back, which a broken connection would lose.
            yield _first_byte_of(response), response.iter_bytes()

    def _check_reachable(self) -> None:
        """Raises ModelError at once where the hub must not or cannot be asked.

        Looking up a name has no time limit of its own: a machine without network may sit in it for half a minute.
        """
        if fetching_forbidden():
            message = "HF_HUB_OFFLINE is set, so nothing is fetched. Unset it, or copy a model with --from FOLDER."
            raise ModelError(Trouble.OFFLINE, message, by_setting=True)
        scheme = urlsplit(self.endpoint).scheme
        if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(self.host):
            return  # the proxy looks the name up
        found: list[Any] = []

        def look_up() -> None:
            with contextlib.suppress(OSError):
                found.extend(socket.getaddrinfo(self.host, None))

        looker = threading.Thread(target=look_up, name="hub-name", daemon=True)
        looker.start()
        looker.join(CONNECT_WITHIN_S)
        if not found:
            raise self._offline()

    @contextlib.contextmanager
    def _mapped_errors(self, repository: str, beginning: bool = False) -> Iterator[None]:
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            if beginning:
                raise self._offline() from error
            raise Interrupted from error
        except httpx2.HTTPError as error:
            if beginning:
                raise ModelError(
                    Trouble.HUB_BUSY,
                    f"{self.host} does not answer properly ({type(error).__name__}). Try again later.",
                    host=self.host,
                ) from error
            raise Interrupted from error
        except httpx2.InvalidURL as error:
            message = f"{repository} cannot be asked for at {self.endpoint}. Check HF_ENDPOINT."
            raise ModelError(Trouble.REFUSED, message, repository=repository) from error

    def _check_status(self, response: httpx2.Response, repository: str) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status in (401, 403):
            raise ModelError(
                Trouble.REFUSED,
                f"{self.host} does not give out {repository} ({status}). Accept its licence there if it has one, and"
                " set HF_TOKEN to a token of yours that may read it.",
                host=self.host,
                repository=repository,
                status=status,
            )
        if status in (404, 410):
            raise ModelError(
                Trouble.NOT_FOUND,
                f"{self.host} has no {repository} (any more), or not all of it. Copy the model with --from FOLDER.",
                host=self.host,
                repository=repository,
            )
        if status in (408, 416, 425, 429) or status >= 500:
            raise Interrupted(f"status {status}")
        raise ModelError(
            Trouble.HUB_BUSY,
            f"{self.host} answers {status} for {repository}. Try again later.",
            host=self.host,
            repository=repository,
            status=status,
        )

    def _offline(self) -> ModelError:
        return ModelError(
            Trouble.OFFLINE,
            f"{self.host} cannot be reached. Check the network (or HF_ENDPOINT), or copy a model from another machine"
            " with --from FOLDER. What is installed works without a network.",
            host=self.host,
        )


def _edition_of(repository: str, answer: dict[str, Any]) -> Edition:
    """Raises ValueError, KeyError, TypeError or AttributeError for an answer that is not the hub's."""
    files = []
    for sibling in answer["siblings"]:
        lfs = sibling.get("lfs") or {}
        sha256, git_sha1 = str(lfs.get("sha256") or ""), str(sibling.get("blobId") or "")
        size = lfs.get("size", sibling.get("size"))
        if not isinstance(size, int) or not (_SHA256.fullmatch(sha256) or (not lfs and _SHA1.fullmatch(git_sha1))):
            continue  # nothing to check it by: as good as not there
        files.append(HubFile(str(sibling["rfilename"]), size, sha256, "" if sha256 else git_sha1))
    commit = answer["sha"]
    if not isinstance(commit, str) or not _SHA1.fullmatch(commit):
        raise ValueError("no commit")
    return Edition(repository, commit, tuple(files))


def _first_byte_of(response: httpx2.Response) -> int:
    """Where the body begins. Raises Interrupted for a range that cannot be understood."""
    if response.status_code != 206:
        return 0
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None:
        raise Interrupted("a range without a place")
    return int(match.group(1))
