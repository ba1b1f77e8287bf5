"""How frames become files: MP4, and animated pictures for pages.

Axes: T frames, H and W height and width.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import numpy as np

# x264 looks ahead on halved frames, and of frames smaller than 32 pixels it reads what lies beside them in memory
_WITHOUT_LOOKING_AHEAD = "bframes=0:rc-lookahead=0:mbtree=0:scenecut=0"


def as_mp4(frames: np.ndarray, fps: float, facts: dict[str, str] | None = None, *, quality: int = 20) -> bytes:
    """Frames (T, H, W, 3) uint8 of even height and width as an MP4 file in H.264; `facts` become its tags.

    The same frames give the same bytes. quality: the constant rate factor, 0 to 51, small being good.
    """
    import av

    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        for name, text in (facts or {}).items():
            container.metadata[name] = text
        options = {"crf": str(quality), "preset": "veryfast", "threads": "1", "x264-params": _WITHOUT_LOOKING_AHEAD}
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def animated(frames: np.ndarray, fps: float, *, width: int, height: int) -> bytes:
    """Frames (T, H, W, 3) uint8 as an animated WebP that begins again at its end."""
    from PIL import Image

    shown = [Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC) for frame in frames]
    file = io.BytesIO()
    shown[0].save(
        file, "WEBP", save_all=True, append_images=shown[1:], duration=round(1000 / fps), loop=0, quality=60, method=2
    )
    return file.getvalue()
