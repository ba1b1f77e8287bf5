"""Streams of pictures: a webcam, an address, a site's page, or a file played as fast as it was recorded, all read alike.

A thread decodes, and keeps the newest frames only; who asks gets these, so that a slow model misses some and never lags behind.

Axes: T frames, H and W height and width.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.errors import DataError, MissingExtra, OuvroirError
from ouvroir.media.video.decode import decoder, square
from ouvroir.media.video.processor import in_clips
from ouvroir.task import Moment

if TYPE_CHECKING:
    from ouvroir.media.video.processor import VideoProcessor

STALL_S = 2.0  # without a frame, after which it is said that the stream stands still
OPEN_S, READ_S = 15.0, 10.0
RETRIES = 5  # to open a stream again that broke off, each later than the one before
_LATE_S, _VERY_LATE_S = 0.5, 2.0  # behind the time of the stream: frames that no other needs are not decoded, then most
_LEAST_OFTEN_S = 0.5  # in which one frame at least is kept, however late it is
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WEBCAM = re.compile(r"^(?:webcam|/dev/video)(?::?(\d+))?$")


def follow(address: str, processor: VideoProcessor, *, every_s: float) -> Generator[Moment, None, None]:
    """The newest clip at least every `every_s` seconds of the stream, until it ends. Raises DataError, MissingExtra."""
    decoder()  # which says what to install where it is missing
    reader = Reader(address, fps=processor.fps, px=processor.storage_px, n_frames=processor.n_frames)
    reader.start()
    with closing(reader):
        n_answered, least_at, is_still = 0, 0.0, False
        while True:
            found = reader.newest(n_answered, least_at, timeout_s=STALL_S)
            if found is None:
                if reader.is_over:
                    break
                if not is_still:
                    is_still = True
                    yield Moment(
                        reader.at_s, time.monotonic(), said=f"Nothing has come for {STALL_S:g} s; waiting for more."
                    )
                continue
            said = "It goes on." if is_still else ""
            is_still = False
            frames, n_seen, at_s, seen_s = found
            n_missed = max(0, n_seen - len(frames) - n_answered) if n_answered else 0
            n_answered, least_at = n_seen, at_s + every_s
            example = in_clips(frames, processor.n_frames)
            yield Moment(at_s, seen_s, example, n_dropped=n_missed, said=said)
        if reader.said and not n_answered:
            raise reader.failed or DataError(reader.said)
        if reader.said:
            yield Moment(reader.at_s, time.monotonic(), said=reader.said)


class Reader(threading.Thread):
    """Decodes a stream and keeps its newest `n_frames`, `fps` a second, as squares of `px`."""

    def __init__(self, address: str, *, fps: float, px: int, n_frames: int) -> None:
        super().__init__(daemon=True, name="stream")
        self.address, self.fps, self.px = address, fps, px
        self.said = ""
        self.failed: OuvroirError | None = None
        self.is_over = False
        self.at_s = 0.0
        self._frames: deque[np.ndarray] = deque(maxlen=n_frames)
        self._n_frames = n_frames
        self._n_seen = 0
        self._seen_s = 0.0
        self._news = threading.Condition()
        self._is_closed = threading.Event()

    def newest(
        self, n_answered: int, least_at: float, *, timeout_s: float
    ) -> tuple[np.ndarray, int, float, float] | None:
        """Frames (T, H, W, 3), how many were seen in all, seconds of the stream, and when the last came.

        Waits for the stream to be at `least_at` seconds and to have shown enough; at its end a shorter clip is given. None when
        nothing new comes for `timeout_s`, or nothing is left.
        """
        with self._news:
            n_before = self._n_seen
            until = time.monotonic() + timeout_s
            while not self._has_more(n_answered, least_at) and not self.is_over:
                if self._n_seen != n_before:
                    n_before, until = self._n_seen, time.monotonic() + timeout_s
                if not self._news.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    return None
            if not self._frames or (n_answered and not self._has_more(n_answered, least_at)):
                return None
            found = np.stack(self._frames), self._n_seen, self.at_s, self._seen_s
            if self.is_over:
                self._frames.clear()
            return found

    def _has_more(self, n_answered: int, least_at: float) -> bool:
        is_new = self._n_seen > n_answered and self.at_s >= least_at
        return is_new and len(self._frames) == self._n_frames

    def close(self) -> None:
        """Stop decoding, and wait for it."""
        self._is_closed.set()
        self.join(timeout=READ_S)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Decode until the stream is over or `close` is called."""
        try:
            self._read_all()
        except OuvroirError as error:
            self.failed, self.said = error, str(error)
        except Exception as error:  # noqa: BLE001 - whatever ends this thread must reach who waits for it
            self.said = f"`{self.address}` could not be read on: {type(error).__name__}: {error}."
        finally:
            with self._news:
                self.is_over = True
                self._news.notify_all()

    def _read_all(self) -> None:
        import av

        n_failed, wait_s = 0, 1.0
        while not self._is_closed.is_set():
            n_before, told = self._n_seen, "it ended"
            try:
                self._read_once()
                if not is_live(self.address):
                    return
            except av.FFmpegError as error:
                told = _told(error)
                if not self._n_seen:
                    advice = (
                        " Check the address, the name and password in it, and the network."
                        if "://" in self.address
                        else ""
                    )
                    raise DataError(f"`{self.address}` is no stream that can be read: {told}.{advice}") from error
                if not self._may_come(error):  # a file that is damaged there, an address that is gone
                    self.said = f"It ended: {told}."
                    return
            n_failed, wait_s = (0, 1.0) if self._n_seen > n_before else (n_failed + 1, 2 * wait_s)
            if n_failed > RETRIES:
                self.said = f"`{self.address}` gave nothing in {RETRIES} more attempts: {told}."
                return
            self._is_closed.wait(wait_s)

    def _may_come(self, error: Exception) -> bool:
        """Whether it is worth opening the stream again."""
        import av

        is_elsewhere = bool(_ADDRESS.match(self.address)) or is_live(self.address)
        return is_elsewhere and not isinstance(error, av.error.InvalidDataError | av.error.HTTPClientError)

    def _read_once(self) -> None:
        with opened(self.address) as container:
            if not container.streams.video:
                raise DataError(f"`{self.address}` holds no pictures.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            clock = Clock(self.at_s)
            rate = float(stream.average_rate or 25)
            next_at = self.at_s
            for number, frame in enumerate(container.decode(stream)):
                at = clock.place(float(frame.time) if frame.time is not None else number / rate)
                if not is_live(self.address):
                    self._is_closed.wait(clock.ahead(at))
                if self._is_closed.is_set():
                    return
                late = clock.behind(at)
                stream.codec_context.skip_frame = (
                    "NONKEY" if late > _VERY_LATE_S else "NONREF" if late > _LATE_S else "DEFAULT"
                )
                if at + 1e-6 < next_at:
                    continue
                next_at = max(next_at + 1 / self.fps, at)
                self._take(frame, at, is_late=late > _VERY_LATE_S)

    def _take(self, frame: Any, at: float, *, is_late: bool) -> None:
        if is_late and time.monotonic() - self._seen_s < _LEAST_OFTEN_S:
            with self._news:
                self._n_seen += 1
            return
        small = square(frame, self.px)
        with self._news:
            self._n_seen += 1
            self.at_s, self._seen_s = at, time.monotonic()
            self._frames.append(small)
            self._news.notify_all()


class Clock:
    """The time of a stream beside that of the world, set again after the stream stood still."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._first: float | None = None
        self._start = self._last = 0.0

    def place(self, stamp: float) -> float:
        """Seconds of the stream, by what a frame is stamped with; those before it broke off are counted."""
        now = time.monotonic()
        if self._first is None:
            self._first = stamp
            self._start = now - self._begin
        at = self._begin + stamp - self._first
        if self._last and now - self._last > STALL_S:
            self._start = now - at
        self._last = now
        return at

    def ahead(self, at: float) -> float:
        """Seconds to wait until a frame is due."""
        return max(0.0, self._start + at - time.monotonic())

    def behind(self, at: float) -> float:
        """Seconds since a frame was due."""
        self._last = time.monotonic()
        return max(0.0, self._last - self._start - at)


def is_live(address: str) -> bool:
    """Whether it shows what is now, so that there is nothing to wait for, and its end is no end."""
    return bool(_WEBCAM.match(address)) or address.lower().startswith(
        ("rtsp://", "rtsps://", "rtmp://", "udp://", "srt://")
    )


def opened(address: str) -> Any:
    """What PyAV opens at a path, an address or a webcam (`webcam`, `webcam:1`). Raises DataError, MissingExtra, av.FFmpegError."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra("Following a stream", "video") from error
    if found := _WEBCAM.match(address):
        return _webcam(av, int(found[1] or 0))
    if not _ADDRESS.match(address):
        path = Path(address).expanduser()
        if not path.is_file():
            raise DataError(
                f"There is no file `{address}`. A stream is a file, an address such as rtsp://…, or webcam."
            )
        return av.open(str(path), mode="r", metadata_errors="ignore")
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    if address.lower().startswith("file:"):
        raise DataError("Give the path of a file as it is, without file://.")
    try:
        return av.open(address, mode="r", timeout=(OPEN_S, READ_S), options=options, metadata_errors="ignore")
    except av.error.InvalidDataError:
        if not address.lower().startswith("http"):
            raise
        return av.open(_inside_page(address), mode="r", timeout=(OPEN_S, READ_S), metadata_errors="ignore")


def _webcam(av: Any, number: int) -> Any:
    kinds = {"linux": ("v4l2", f"/dev/video{number}"), "darwin": ("avfoundation", str(number))}
    kind, name = kinds.get(sys.platform, ("dshow", f"video={number}"))
    if sys.platform == "linux" and not Path(name).exists():
        raise DataError(f"There is no webcam {number}: {name} does not exist.")
    return av.open(name, mode="r", format=kind, timeout=(OPEN_S, READ_S))


def _inside_page(address: str) -> str:
    """The address of the video that a site shows on a page."""
    try:
        import yt_dlp  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra(f"Finding the video inside the page {address}", "stream") from error
    settings = {"quiet": True, "no_warnings": True, "noplaylist": True, "format": "best[height<=480]/best"}
    try:
        with yt_dlp.YoutubeDL(settings) as finder:
            found = finder.extract_info(address, download=False)
    except yt_dlp.utils.YoutubeDLError as error:
        raise DataError(f"No video was found on the page {address}: {error}.") from error
    if not found or "url" not in found:
        raise DataError(f"No video was found on the page {address}.")
    return str(found["url"])


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
