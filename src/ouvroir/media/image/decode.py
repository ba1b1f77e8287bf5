"""From the bytes of a picture file to upright 8-bit grey or RGB pixels, under limits; and what one look at it tells.

Runs in worker processes and never loads torch. Only Pillow decoders that need no outside program are used. A file is
refused with a reason or given whole: nothing is replaced by a black picture, no source file is written.

Axes: H rows, W columns, C channels (1 grey, 3 RGB).
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, features

from ouvroir.errors import Refused
from ouvroir.source import Source
from ouvroir.task import Facts, Limits

Aspect = Literal["stretch", "pad", "crop"]
Values = Literal["whole", "float"]
Levels = Mapping[str, tuple[float, float]]
"""For `whole` and `float` values deeper than 8 bits: the values that become 0 and 255. Empty: each picture by itself."""
NO_LEVELS: Levels = MappingProxyType({})

MIN_EDGE_PX = 8  # a picture whose longer side is shorter shows nothing that can be learned
LOOK_PX = 64  # edge of the small copy that facts are measured on
KEY_PX = 16  # edge of the grey copy in the near-duplicate key
KEY_COLOUR_WEIGHT = 0.25  # weight of the 4x4 colour differences beside the unit-norm grey part
TWELVE_BITS = 4095
SIXTEEN_BITS = 65535
DIM_LEVEL = 64  # what 14 bits reach when the lower half of 16 is dropped
_TOPS = (1, 255, 1023, TWELVE_BITS, 16383, SIXTEEN_BITS)

# suffix -> what Pillow calls the format; also the list of formats that are tried
_FORMAT_OF_SUFFIX = {
    "png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "gif": "GIF", "bmp": "BMP",
    "dib": "DIB", "tif": "TIFF", "tiff": "TIFF", "webp": "WEBP", "ppm": "PPM", "pgm": "PPM", "pbm": "PPM",
    "pnm": "PPM", "ico": "ICO", "avif": "AVIF", "jp2": "JPEG2000", "j2k": "JPEG2000", "psd": "PSD", "pcx": "PCX",
    "tga": "TGA",
}  # fmt: skip
_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}

# first bytes -> what a file begins like, for the message when its header is damaged
_MAGIC = (
    (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"), (b"8BPS", "PSD"), (b"\x00\x00\x00\x0cjP", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, 8 bits, mode `L` or `RGB`.

    `width` and `height` are the upright size in the file; `image` may be smaller when a reduced decode was asked for.
    `span` is the least and greatest value in the file when these are deeper than 8 bits.
    """

    image: Image.Image
    width: int
    height: int
    format: str
    mode: str
    has_alpha: bool
    notes: tuple[str, ...]
    span: tuple[float, float] | None = None


# warnings.catch_warnings changes state of the whole process, so threads of a server take turns
_WARNINGS_LOCK = threading.RLock()


@contextmanager
def _warnings_kept() -> Iterator[list[warnings.WarningMessage]]:
    with _WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def decoder() -> str:
    """What decodes here, in words: Pillow and those of its libraries whose pixels may differ from version to version."""
    libraries = ("jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif")  # not those of lossless formats
    found = [f"{name} {version}" for name in libraries if (version := features.version(name))]
    return ", ".join([f"Pillow {PIL.__version__}", *found])


@cache
def _formats(*, with_tga: bool) -> tuple[str, ...]:
    """The formats to try. TGA has no signature, so it is tried only when the name says so."""
    Image.init()
    wanted = [*dict.fromkeys(_FORMAT_OF_SUFFIX.values()), "MPO"]
    return tuple(name for name in wanted if name in Image.OPEN and (with_tga or name != "TGA"))


def decode(
    content: bytes, name: str, limits: Limits, *, at_least_px: int | None = None, levels: Levels = NO_LEVELS
) -> Picture:
    """Decode the first frame or page of a picture to upright 8-bit grey (`L`) or `RGB`.

    With `at_least_px` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, never below that many pixels a side, which
    is several times faster. Transparency is laid on white. Values deeper than 8 bits are scaled by `levels`. Raises Refused:
    `empty`, `not_a_picture`, `unsupported_format`, `too_many_pixels`, `too_small`, `truncated`, `damaged`.
    """
    if not content:
        raise Refused("empty", f"`{name}` is 0 bytes long.")
    with _warnings_kept() as remarks:
        try:
            return _decode(content, name, limits, at_least_px, levels, remarks)
        except Refused:
            raise
        except Image.DecompressionBombError as error:
            raise Refused(
                "too_many_pixels", f"`{name}` unfolds to more pixels than is safe: {_words(error)}."
            ) from error
        except MemoryError as error:
            raise Refused("too_large", f"`{name}` needs more memory than the limit to decode.") from error
        except Exception as error:
            raise _damaged(name, error) from error


def _decode(
    content: bytes,
    name: str,
    limits: Limits,
    at_least_px: int | None,
    levels: Levels,
    remarks: list[warnings.WarningMessage],
) -> Picture:
    image = _open(content, name)
    n_pixels = image.width * image.height
    if n_pixels > limits.max_elements:
        raise Refused(
            "too_many_pixels",
            f"`{name}` is {image.width}x{image.height}, {n_pixels} pixels; the limit is {limits.max_elements}.",
        )
    if max(image.size) < MIN_EDGE_PX:
        raise Refused(
            "too_small", f"`{name}` is {image.width}x{image.height} pixels; its longer side needs {MIN_EDGE_PX}."
        )
    size, mode, kind = image.size, image.mode, str(image.format)
    notes = _format_notes(image, name)
    is_deep_colour = kind_of_values(mode) is None and _has_16_bits(image)  # what decodes forgets how
    if at_least_px is not None:
        image.draft(None, (at_least_px, at_least_px))
    image.load()
    turned, is_turned = upright(image, name, notes)
    has_alpha = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    span = None
    if kind_of_values(turned.mode) is None:
        flat = _to_8_bit(turned)
    else:
        flat, span = _deep_to_8_bit(turned, name, notes, levels)
    if is_deep_colour:
        brightest = int(np.asarray(turned.convert("RGB")).max())
        if brightest < DIM_LEVEL:
            notes.append(
                f"`{name}` is in colour with 16 bits, of which only the upper 8 are read, and these reach no further than "
                f"{brightest} of 255: it is nearly black here. Save it with 8 bits a channel."
            )
    # a remark of the decoder is passed on once; 'bomb' warnings are ours to decide and were decided above
    notes += dict.fromkeys(
        f"`{name}`: the decoder says: {str(remark.message).strip().rstrip('.')}."
        for remark in remarks
        if not issubclass(remark.category, (Image.DecompressionBombWarning, DeprecationWarning))
    )
    width, height = size[::-1] if is_turned else size
    return Picture(flat, width, height, kind, mode, has_alpha, tuple(notes), span)


def _open(content: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header only. Raises Refused."""
    suffix = name.rsplit(".", 1)[-1].lower()
    try:
        return Image.open(io.BytesIO(content), formats=_formats(with_tga=suffix == "tga"))
    except UnidentifiedImageError as error:
        if content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"mif1", b"hevc", b"msf1"):
            reason = f"`{name}` is a HEIC picture, which is not read here. Convert it to JPEG or PNG."
            raise Refused("unsupported_format", reason) from error
        kind = next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            kind = "WebP"
        if kind:
            reason = f"`{name}` begins like a {kind} picture, but its header is damaged or not of a known kind."
            raise Refused("damaged", reason) from error
        raise Refused("not_a_picture", f"`{name}` is not a picture in a format that is read here.") from error


def _words(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _damaged(name: str, error: Exception) -> Refused:
    text = _words(error)
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return Refused(
            "truncated", f"`{name}` ends before the picture does ({text}). Copy it again from where it came."
        )
    return Refused("damaged", f"`{name}` cannot be decoded: {text}.")


def _format_notes(image: Image.Image, name: str) -> list[str]:
    notes = []
    kind = _SAME_FORMAT.get(str(image.format), str(image.format))
    suffix = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    expected = _FORMAT_OF_SUFFIX.get(suffix)
    if expected and _SAME_FORMAT.get(expected, expected) != kind:
        notes.append(f"`{name}` is a {kind} picture under the extension .{suffix}; it is used as what it is.")
    if image.format != "MPO" and _has_more_frames(image):
        notes.append(f"`{name}` holds several frames or pages; the first is used.")
    return notes


def _has_more_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - a damaged later frame does not concern the first
        return True


def _has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether a file of 16 bits a channel opens in a mode of 8, which drops the lower ones: colour, and grey with alpha."""
    for codec, _, _, args in image.tile:
        parts = args if isinstance(args, tuple) else (args,)
        if ";16" in str(parts[0]) or (codec == "ppm" and SIXTEEN_BITS in parts):
            return True
    return False


def upright(image: Image.Image, name: str, notes: list[str]) -> tuple[Image.Image, bool]:
    """Apply the EXIF orientation; second, whether width and height changed places."""
    try:
        orientation = image.getexif().get(0x0112, 1)
        turned = ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
    except Exception as error:  # noqa: BLE001 - EXIF is data from anywhere; without it the picture is still good
        notes.append(f"`{name}`: its orientation (EXIF) cannot be read ({_words(error)}); taken as it lies.")
        return image, False
    return turned, orientation in range(5, 9)


def _deep_to_8_bit(
    image: Image.Image, name: str, notes: list[str], levels: Levels
) -> tuple[Image.Image, tuple[float, float]]:
    """A mode of Pillow with 16 or 32 bits to `L`, and its least and greatest value."""
    kind = kind_of_values(image.mode)
    assert kind is not None
    values = _finite(np.asarray(image), name, notes)
    span = (float(values.min()), float(values.max()))
    return Image.fromarray(_scale_to_8_bit(values, levels.get(kind) or _own_levels(*span, kind))), span


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Any other mode of Pillow to `L` or `RGB`."""
    mode = image.mode
    if mode == "1":
        return image.convert("L")
    if mode in ("RGBA", "RGBa", "PA") or (mode in ("P", "RGB") and "transparency" in image.info):
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear).convert("RGB")
    if mode in ("LA", "La") or (mode == "L" and "transparency" in image.info):
        grey, alpha = image.convert("LA").split()
        return Image.composite(grey, Image.new("L", grey.size, 255), alpha)
    if mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    return (
        image if mode in ("L", "RGB") else image.convert("RGB")
    )  # P, CMYK (Pillow undoes Adobe's inversion), YCbCr...


def kind_of_values(mode: str) -> Values | None:
    """What the values of a mode of Pillow are when they are deeper than 8 bits; None when they are not."""
    return "whole" if mode.startswith("I") else "float" if mode == "F" else None


def common_levels(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The values that become 0 and 255 in all pictures of a set, from the least and greatest value of each.

    From 0 to the greatest value of 1, 8, 10, 12, 14 or 16 bits that holds them all: a file of 16 bits does not say that its
    camera has 12. Where there are negative or larger values, from the least to the greatest.
    """
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    return (low, high) if low < 0 else (0.0, next((float(top) for top in _TOPS if high <= top), high))


def _own_levels(low: float, high: float, kind: Values) -> tuple[float, float]:
    """A guess for one picture by itself, where no set is known that it belongs to."""
    tops = (TWELVE_BITS, SIXTEEN_BITS) if kind == "whole" else (1, 255)
    return (0.0, float(next(top for top in tops if high <= top))) if low >= 0 and high <= tops[-1] else (low, high)


def _finite(values: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    finite = np.isfinite(values)
    if finite.all():
        return values
    notes.append(f"`{name}` has {int((~finite).sum())} values that are not numbers; they count as the least value.")
    return np.where(finite, values, values[finite].min() if finite.any() else 0)


def _scale_to_8_bit(values: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """(H, W) of 16-bit, 32-bit or float values to uint8; what lies outside the levels becomes black or white."""
    low, high = levels
    scale = 255.0 / (high - low) if high > low else 0.0
    scaled: np.ndarray = np.rint(((values.astype(np.float64) - low) * scale).clip(0, 255)).astype(np.uint8)
    return scaled


def fit_to_square(image: Image.Image, edge_px: int, aspect: Aspect, n_channels: int) -> np.ndarray:
    """Resize with antialiasing to (edge_px, edge_px, n_channels) uint8.

    `stretch` changes the aspect ratio; `pad` keeps all of the picture and fills with its border colour; `crop` keeps
    the middle. A picture that has the size already is not touched.
    """
    image = image.convert("L" if n_channels == 1 else "RGB")
    size = (edge_px, edge_px)
    if image.size == size:
        fitted = image
    elif aspect == "stretch" or image.width == image.height:
        fitted = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    elif aspect == "crop":
        fitted = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    else:
        scale = edge_px / max(image.size)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        fitted = Image.new(image.mode, size, _border_colour(image))
        fitted.paste(
            image.resize(inner, Image.Resampling.BICUBIC, reducing_gap=2.0),
            ((edge_px - inner[0]) // 2, (edge_px - inner[1]) // 2),
        )
    return np.asarray(fitted).reshape(edge_px, edge_px, n_channels)


def _border(pixels_HWC: np.ndarray) -> np.ndarray:
    """(N, C): the outermost rows and columns."""
    sides = (pixels_HWC[0], pixels_HWC[-1], pixels_HWC[1:-1, 0], pixels_HWC[1:-1, -1])
    return np.concatenate(sides)


def _border_colour(image: Image.Image) -> int | tuple[int, ...]:
    pixels = np.asarray(image)
    middle = np.median(_border(pixels.reshape(image.height, image.width, -1)), axis=0)
    return int(middle[0]) if len(middle) == 1 else tuple(int(value) for value in middle)


def inspect_picture(source: Source, limits: Limits) -> Facts:
    """What admission needs to know of one picture.

    `details`: width, height (upright, px), mode and format of the file, is_grey, saturation (mean of max - min over
    channels, 0 to 1), background (share of the border within 24 levels of its median, 0 to 1), two_tone (share of
    pixels near the darkest or brightest value, 0 to 1); low and high, the least and greatest value, where values are deeper
    than 8 bits. Raises Refused.
    """
    content = source.read(limits.max_bytes)
    picture = decode(content, source.name, limits, at_least_px=2 * LOOK_PX)
    small = np.asarray(_look(picture.image)).astype(np.float32)
    small = small.reshape(*small.shape[:2], -1)
    notes = list(picture.notes)
    if float(np.ptp(small, axis=(0, 1)).max()) < 1:
        notes.append(f"`{source.name}` is one flat colour; there is nothing in it to learn from.")
    if max(picture.width, picture.height) > 20 * min(picture.width, picture.height):
        notes.append(f"`{source.name}` is very narrow ({picture.width}x{picture.height}).")
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        near_key=near_key(picture.image),
        details={
            "width": picture.width,
            "height": picture.height,
            "mode": picture.mode,
            "format": picture.format,
            "has_alpha": picture.has_alpha,
            **_measures(small),
            **({} if picture.span is None else {"low": picture.span[0], "high": picture.span[1]}),
        },
        notes=tuple(notes),
    )


def _look(image: Image.Image) -> Image.Image:
    if max(image.size) <= LOOK_PX:
        return image
    scale = LOOK_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _measures(pixels_HWC: np.ndarray) -> dict[str, float | bool]:
    spread = pixels_HWC.max(axis=2) - pixels_HWC.min(axis=2)
    border = _border(pixels_HWC)
    grey = pixels_HWC.mean(axis=2)
    low, high = float(grey.min()), float(grey.max())
    margin = 0.2 * (high - low)
    return {
        "is_grey": bool(spread.max() <= 4),  # JPEG rounds: equal channels may differ a little
        "saturation": round(float(spread.mean()) / 255, 4),
        "background": round(float((np.abs(border - np.median(border, axis=0)).max(axis=1) <= 24).mean()), 4),
        "two_tone": round(float(((grey <= low + margin) | (grey >= high - margin)).mean()), 4),
    }


def near_key(image: Image.Image) -> np.ndarray | None:
    """A unit vector of float32, length 288, such that copies (resized, recompressed, brightened) have a cosine near 1.

    The grey 16x16 copy without its mean, unit norm, beside a quarter of the 4x4 colour differences. None for a picture
    with almost no contrast, which would resemble everything.
    """
    grey = np.asarray(image.convert("L").resize((KEY_PX, KEY_PX), Image.Resampling.BILINEAR), dtype=np.float32)
    shape = grey.ravel() - grey.mean()
    norm = float(np.linalg.norm(shape))
    if norm < KEY_PX:  # a deviation under one grey level
        return None
    colour = np.zeros((4, 4, 2))
    if image.mode == "RGB":
        coarse = np.asarray(image.resize((4, 4), Image.Resampling.BILINEAR), dtype=np.float64) / 255
        red, green, blue = np.moveaxis(coarse, 2, 0)
        colour = np.stack([red - green, blue - (red + green) / 2], axis=2)
    vector = np.concatenate([shape / norm, KEY_COLOUR_WEIGHT * colour.ravel()])
    unit: np.ndarray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit
