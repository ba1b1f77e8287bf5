"""Streams of pictures: a webcam, an address, a site's page, or a file played as fast as it was recorded, all read alike.

A thread decodes, and keeps the newest frames only; who asks gets these, so that a slow model misses some and never lags behind.
Where decoding is too slow itself, what was sent meanwhile is left out, if need be up to a frame that needs no other. No clip holds
frames from before and after such a gap.

Axes: T frames, H and W height and width.
"""

from __future__ import annotations

import math
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
from ouvroir.files import without_password
from ouvroir.media.video.decode import decoder, square
from ouvroir.media.video.processor import in_clips
from ouvroir.task import Moment

if TYPE_CHECKING:
    from ouvroir.media.video.processor import VideoProcessor

STALL_S = 2.0  # without a frame, after which it is said that the stream stands still
OPEN_S, READ_S = 15.0, 10.0
RETRIES = 5  # to open a stream again that broke off, each later than the one before
_LATE_S, _VERY_LATE_S = 0.5, 2.0  # behind what goes on: the most to begin again with, and where decoding stops
_JUMP_S = 10.0  # between two frames of a stream without an end: its clock was set anew
_BACK_S = 1.0  # from one frame to the next: the same
_CATCH_UP_S = 2.0  # in which frames are decoded and not kept, to be on time again
_KEYS_S = 10.0  # between two frames that need no other, at most, where one waits for the next
_MOST_DAMAGED = 100  # packets after each other: that is no stream any more
_PAYS = 10.0  # seconds of work that a second of waiting makes up for: who waits a tenth of the time keeps up
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WEBCAM = re.compile(r"^(?:webcam(?::(.+)|(\d*))|/dev/video(\d+))$")


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
                    said = f"Nothing has come for {STALL_S:g} s; waiting for more."
                    yield Moment(reader.at_s, time.monotonic(), said=said)
                continue
            said = "It goes on." if is_still and n_answered else ""
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
        self._name = without_password(address)
        self.said = ""
        self.failed: OuvroirError | None = None
        self.is_over = False
        self.at_s = 0.0
        self._frames: deque[np.ndarray] = deque(maxlen=n_frames)
        self._n_frames = n_frames
        self._n_seen = 0
        self._seen_s = 0.0
        self._behind_s: float | None = None  # by the clock of the world, since when one is too late
        self._is_lost = False  # whether nothing is decoded until a frame comes that needs no other
        self._key_at: float | None = None  # seconds of the stream of the last such frame
        self._has_keys = False  # whether they come often
        self._n_damaged = 0
        self._next_at: float | None = None  # seconds of the stream of the next frame to keep
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
            self.said = f"`{self._name}` could not be read on: {type(error).__name__}: {error}."
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
                    raise DataError(f"`{self._name}` is no stream that can be read: {told}.{advice}") from error
                if not self._may_come(error):  # a file that is damaged there, an address that is gone
                    self.said = f"It ended: {told}."
                    return
            n_failed, wait_s = (0, 1.0) if self._n_seen > n_before else (n_failed + 1, 2 * wait_s)
            if n_failed >= RETRIES:
                self.said = f"`{self._name}` gave nothing in {RETRIES} more attempts: {told}."
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
                raise DataError(f"`{self._name}` holds no pictures.")
            stream = container.streams.video[0]
            pace = pace_of(self.address, container, begin=self._now_at())
            stream.thread_type = "AUTO" if pace.is_local else "SLICE"  # whole frames side by side come late
            self._begin_clip()
            self._behind_s, self._is_lost, self._key_at, self._has_keys = None, False, None, False
            asked_s = time.monotonic()
            for packet in container.demux(stream):
                came_s = time.monotonic()
                pace.waited(came_s - asked_s)
                if self._is_closed.is_set():
                    return
                if self._is_wanted(packet, pace, stream.codec_context):
                    for frame in self._decoded(packet):
                        self._place(frame, pace, came_s)
                asked_s = time.monotonic()
                pace.worked(asked_s - came_s)
                has_clip = len(self._frames) == self._n_frames
                if self._behind_s is None and has_clip and pace.late(self.at_s) > _VERY_LATE_S:
                    self._behind_s = asked_s

    def _is_wanted(self, packet: Any, pace: Pace, codec: Any) -> bool:
        """Whether to decode a packet. Who is behind decodes on and keeps nothing; where that does not help, nothing is decoded up
        to a frame that needs no other, if such frames come; and who is slower than all that begins again where the stream is.
        """
        at, now = pace.peek(packet), time.monotonic()
        if packet.is_keyframe:
            self._has_keys = self._key_at is not None and at - self._key_at < _KEYS_S
            self._key_at = at
        if self._behind_s is None:
            return True
        behind_s = now - self._behind_s
        is_too_long = behind_s > _CATCH_UP_S + _KEYS_S
        if is_too_long or (pace.late(at) <= _LATE_S and (packet.is_keyframe or not self._is_lost)):
            if is_too_long:
                pace.begin_anew(at)
            if self._is_lost:
                codec.flush_buffers()
            self._begin_clip(at)
            self._behind_s, self._is_lost = None, False
        elif self._has_keys and behind_s > _CATCH_UP_S:
            self._is_lost = True
        return not self._is_lost

    def _decoded(self, packet: Any) -> list[Any]:
        """The frames of a packet; none where it is damaged, which a camera's next one need not be."""
        import av

        try:
            found = packet.decode()
        except av.error.InvalidDataError:
            self._n_damaged += 1
            if self._n_damaged > _MOST_DAMAGED:
                raise
            self._begin_clip()
            return []
        if found:
            self._n_damaged = 0
        return list(found)

    def _place(self, frame: Any, pace: Pace, came_s: float) -> None:
        """Wait until a frame is due, and keep it, unless one is behind."""
        at, is_elsewhere = pace.place(None if frame.time is None else float(frame.time))
        if is_elsewhere:
            self._begin_clip()
        if self._behind_s is not None:
            return
        if (ahead := pace.ahead(at)) > 0:
            self._is_closed.wait(ahead)
            came_s = time.monotonic()
            pace.waited(ahead)
        if not self._is_closed.is_set():
            self._see(frame, at, came_s)

    def _now_at(self) -> float:
        """Seconds of the stream by the clock of the world, however long nothing came."""
        return self.at_s + time.monotonic() - self._seen_s if self._n_seen else 0.0

    def _begin_clip(self, at: float | None = None) -> None:
        """What comes does not follow on what came. at: seconds up to which the stream was left out, if it was."""
        with self._news:
            self._frames.clear()
            if at is not None and self._next_at is not None:
                self._n_seen += max(0, int((at - self._next_at) * self.fps))
        self._next_at = None

    def _see(self, frame: Any, at: float, came_s: float) -> None:
        """Keep the frame if it is time for one, and the one before again where there was none for its time."""
        first = at if self._next_at is None else self._next_at
        if at < first - 1e-6:
            return
        n_since = int((at - first) * self.fps + 1e-6)
        self._next_at = first + (n_since + 1) / self.fps
        small = square(frame, self.px)
        with self._news:
            if self._frames:
                self._frames.extend([self._frames[-1]] * min(n_since, self._n_frames - 1))
            self._n_seen += 1 + min(n_since, self._n_frames - 1)  # none of them was missed
            self.at_s, self._seen_s = at, came_s
            self._frames.append(small)
            self._news.notify_all()


class Pace:
    """The time of a stream beside that of the world, and how far behind it one is.

    is_local: a file, which needs no waiting for; is_paced: its frames may come before they are due; is_stamped: they say when
    they are, and else are when they come; is_endless: its clock may be set anew at any time.
    """

    def __init__(
        self, begin: float, rate: float, *, is_local: bool, is_paced: bool, is_stamped: bool, is_endless: bool
    ) -> None:
        self.is_local, self.is_paced, self.is_stamped, self.is_endless = is_local, is_paced, is_stamped, is_endless
        self._rate = rate
        self._at = begin
        self._offset: float | None = None  # of its seconds from its stamps
        self._start = time.monotonic() - begin
        self._busy_s = 0.0

    def place(self, stamp: float | None) -> tuple[float, bool]:
        """Seconds of the stream for a frame stamped so, and whether it follows on none, since the clock was set anew."""
        if not self.is_stamped:
            self._at = time.monotonic() - self._start
            return self._at, False
        if self._offset is None:
            self._set(stamp, self._at)
            return self._at, False
        at = self._at + 1 / self._rate if stamp is None else stamp + self._offset
        is_elsewhere = at < self._at - _BACK_S or (self.is_endless and at > self._at + _JUMP_S)
        if is_elsewhere:
            at = max(self._at + 1 / self._rate, time.monotonic() - self._start)
            self._set(stamp, at)
        self._at = at
        return at, is_elsewhere

    def _set(self, stamp: float | None, at: float) -> None:
        self._offset = at - (stamp or 0.0)
        self._start = time.monotonic() - at

    def begin_anew(self, at: float) -> None:
        """What is at `at` seconds of the stream is due now."""
        self._start, self._busy_s = time.monotonic() - at, 0.0

    def peek(self, packet: Any) -> float:
        """Seconds of the stream for what is not decoded yet."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if not self.is_stamped or stamp is None or self._offset is None:
            return time.monotonic() - self._start
        return float(stamp * packet.time_base) + self._offset

    def ahead(self, at: float) -> float:
        """Seconds to wait until a frame is due."""
        return max(0.0, self._start + at - time.monotonic()) if self.is_paced else 0.0

    def waited(self, seconds: float) -> None:
        """Count time in which there was nothing to do."""
        self._busy_s = max(0.0, self._busy_s - _PAYS * seconds)

    def worked(self, seconds: float) -> None:
        """Count time in which more may have come."""
        self._busy_s = min(self._busy_s + seconds, 2 * _VERY_LATE_S)

    def late(self, at: float) -> float:
        """Seconds that one is behind, at `at` seconds of the stream.

        By its clock, but no more than one has worked without waiting: who waits for a slow network is not late.
        """
        by_clock = max(0.0, time.monotonic() - self._start - at) if self.is_paced else math.inf
        return by_clock if self.is_local else min(by_clock, self._busy_s)


def pace_of(address: str, container: Any, *, begin: float) -> Pace:
    """How the stream that `container` reads is paced, from `begin` seconds on."""
    import av

    is_local = not _ADDRESS.match(address) and not _WEBCAM.match(address)
    is_stamped = is_local or not container.format.flags & av.format.Flags.no_timestamps.value
    return Pace(
        begin,
        float(container.streams.video[0].average_rate or 25),
        is_local=is_local,
        is_paced=is_stamped and not is_live(address),
        is_stamped=is_stamped,
        is_endless=not is_local and not container.duration,
    )


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
        return _webcam(av, found[1] or found[2] or found[3] or "")
    if not _ADDRESS.match(address):
        path = Path(address).expanduser()
        if path.is_dir():
            raise DataError(f"`{address}` is a folder, and no stream. `ouvroir predict` without --stream reads it.")
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


def _webcam(av: Any, name: str) -> Any:
    if sys.platform == "win32":
        if not name:
            raise DataError("Say which camera, as Windows calls it under Cameras in its settings: `webcam:NAME`.")
        return av.open(f"video={name}", mode="r", format="dshow", timeout=(OPEN_S, READ_S))
    if sys.platform == "darwin":
        return av.open(name or "0", mode="r", format="avfoundation", timeout=(OPEN_S, READ_S))
    path = Path(f"/dev/video{name or 0}")
    if not path.exists():
        raise DataError(f"There is no webcam {name or 0}: {path} does not exist.")
    return av.open(str(path), mode="r", format="v4l2", timeout=(OPEN_S, READ_S))


def _inside_page(address: str) -> str:
    """The address of the video that a site shows on a page."""
    try:
        import yt_dlp  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra(f"Finding the video inside the page {without_password(address)}", "stream") from error
    settings = {"quiet": True, "no_warnings": True, "noplaylist": True, "format": "best[height<=480]/best"}
    try:
        with yt_dlp.YoutubeDL(settings) as finder:
            found = finder.extract_info(address, download=False)
    except yt_dlp.utils.YoutubeDLError as error:
        raise DataError(
            f"No video was found on the page {without_password(address)}: {without_password(str(error))}."
        ) from error
    if not found or "url" not in found:
        raise DataError(f"No video was found on the page {without_password(address)}.")
    return str(found["url"])


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
