"""Every kind of picture becomes the right pixels, or a refusal with its reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ouvroir.errors import Refused
from ouvroir.media.image.decode import common_levels, decode, fit_to_square, inspect_picture, near_key
from ouvroir.source import Source
from ouvroir.task import Limits

LIMITS = Limits()


def encoded(image, kind="PNG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def read(content, name="a.png", **settings):
    return decode(content, name, LIMITS, **settings)


def colours(edge=32):
    """A smooth picture with a different value in every corner and channel."""
    ramp = np.linspace(0, 255, edge)
    red, green = np.meshgrid(ramp, ramp)
    return Image.fromarray(np.stack([red, green, (red + green) / 2], axis=2).astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG", "JPEG2000", "ICO", "PCX", "TGA"])
def test_formats(kind):
    settings = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    suffix = {"JPEG2000": "jp2", "JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower())
    found = read(encoded(colours(), kind, **settings), f"a.{suffix}")
    assert found.image.mode == "RGB"
    assert (found.width, found.height) == (32, 32)
    tolerance = {"GIF": 25, "JPEG": 12}.get(kind, 1)
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(colours())).mean() < tolerance
    assert not found.notes


def test_grey_stays_grey():
    grey = colours().convert("L")
    found = read(encoded(grey))
    assert found.image.mode == "L"
    assert np.array_equal(np.asarray(found.image), np.asarray(grey))


def test_alpha_is_laid_on_white():
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:, :4] = (200, 0, 0, 255)
    clear[:, 4:] = (0, 0, 0, 128)
    pixels = np.asarray(read(encoded(Image.fromarray(clear))).image)
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, 7].tolist() == [127, 127, 127]  # 255 · (1 − 128/255)


def test_grey_with_alpha():
    pair = np.zeros((8, 8, 2), np.uint8)
    pair[:, :4] = (40, 255)
    found = read(encoded(Image.fromarray(pair, "LA")))
    assert found.image.mode == "L"
    assert found.has_alpha
    assert np.asarray(found.image)[0].tolist() == [40] * 4 + [255] * 4


def test_one_bit():
    bits = Image.fromarray((np.arange(64).reshape(8, 8) % 2).astype(bool))
    assert np.asarray(read(encoded(bits)).image)[0].tolist() == [0, 255] * 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = (np.arange(64, dtype=np.uint32).reshape(8, 8) * 1040).astype(np.uint16)
    found = np.asarray(read(encoded(Image.fromarray(values), kind), "a.png").image)
    assert np.array_equal(found, np.rint(values / 257).astype(np.uint8))


def test_a_picture_by_itself_is_taken_for_twelve_or_sixteen_bits():
    for top in (4095, 65535):
        values = np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8)
        found = read(encoded(Image.fromarray(values)))
        assert np.asarray(found.image).max() == 255
        assert found.span == (0, top)


def colour_of_16_bits(values):
    """A PNG of (H, W, C) whole numbers up to 65535, which Pillow reads and does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, n_channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[n_channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("n_channels", [2, 3, 4])
def test_colour_of_sixteen_bits_that_comes_out_black_is_said(n_channels):
    values = np.full((8, 8, n_channels), 65535)
    values[..., : n_channels - (n_channels != 3)] = 4095
    dim = read(colour_of_16_bits(values), "dim.png")
    assert "`dim.png` is in colour with 16 bits" in dim.notes[0]
    assert "no further than 15 of 255" in dim.notes[0]
    assert not read(colour_of_16_bits(values * 16 % 65536), "bright.png").notes
    header = b"P6 8 8 65535\n"
    assert "nearly black" in read(header + np.full((8, 8, 3), 4095, ">u2").tobytes(), "a.ppm").notes[0]
    assert not read(b"P6 8 8 4095\n" + np.full((8, 8, 3), 4095, ">u2").tobytes(), "a.ppm").notes
    assert not read(encoded(Image.new("RGB", (8, 8), (9, 9, 9)))).notes


@pytest.mark.parametrize(
    ("spans", "levels"),
    [
        ([(0, 200), (3, 4000)], (0, 4095)),
        ([(0, 900), (3, 1023)], (0, 1023)),
        ([(0, 900), (3, 1024)], (0, 4095)),
        ([(100, 16383)], (0, 16383)),
        ([(0, 1)], (0, 1)),
        ([(0.1, 0.9), (0, 12.5)], (0, 255)),
        ([(0, 65535), (5, 70_000)], (0, 70_000)),
        ([(-1000, 400), (0, 3000)], (-1000, 3000)),
        ([(0, 0)], (0, 1)),
    ],
)
def test_the_levels_of_a_set_hold_all_its_values(spans, levels):
    assert common_levels(spans) == levels


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_with_levels_pictures_are_scaled_alike(kind):
    levels = {"whole": common_levels([(0, 300), (0, 60_000)])}
    found = [
        np.asarray(decode(encoded(Image.fromarray(values), kind), "a", Limits(), levels=levels).image)
        for values in (np.full((8, 8), 3000, np.uint16), np.full((8, 8), 60_000, np.uint16))
    ]
    assert [int(one[0, 0]) for one in found] == [round(3000 / 257), round(60_000 / 257)]


def test_what_lies_beyond_the_levels_is_black_or_white():
    values = np.array([[-50, 0, 500, 5000]] * 8, np.int32)
    found = decode(encoded(Image.fromarray(values), "TIFF"), "a.tif", Limits(), levels={"whole": (0.0, 1000.0)})
    assert np.asarray(found.image)[0].tolist() == [0, 0, 128, 255]


def test_big_endian_sixteen_bits():
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    header = b"P5 8 8 65535\n"  # PGM of 16 bits is big-endian
    found = read(header + values.astype(">u2").tobytes(), "a.pgm")
    assert np.array_equal(np.asarray(found.image), np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (np.linspace(0, 1, 64), np.linspace(0, 255, 64)),
        (np.linspace(0, 255, 64), np.linspace(0, 255, 64)),
        (np.linspace(-5, 1000, 64), np.linspace(0, 255, 64)),
        (np.full(64, -3.0), np.zeros(64)),
    ],
)
def test_floats(values, want):
    image = Image.fromarray(values.astype(np.float32).reshape(8, 8))
    found = np.asarray(read(encoded(image, "TIFF"), "a.tif").image)
    assert np.abs(found.astype(int) - np.rint(want).reshape(8, 8)).max() <= 1


def test_floats_that_are_not_numbers_count_as_the_least_and_are_said():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[3, 3] = np.nan
    found = read(encoded(Image.fromarray(values), "TIFF"), "a.tif")
    assert np.asarray(found.image)[3, 3] == 0
    assert "not numbers" in found.notes[0]


def test_palette_with_and_without_transparency():
    index = Image.fromarray((np.arange(64).reshape(8, 8) % 2).astype(np.uint8), "P")
    index.putpalette([10, 20, 30, 200, 100, 50])
    plain = np.asarray(read(encoded(index)).image)
    assert plain[0, :2].tolist() == [[10, 20, 30], [200, 100, 50]]
    clear = np.asarray(read(encoded(index, transparency=1)).image)
    assert clear[0, :2].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_transparent_colour_of_rgb():
    pixels = np.full((8, 8, 3), 90, np.uint8)
    pixels[0, 0] = (1, 2, 3)
    found = np.asarray(read(encoded(Image.fromarray(pixels), transparency=(1, 2, 3))).image)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[5, 5].tolist() == [90, 90, 90]


def test_cmyk_jpeg_has_the_right_colours():
    red = Image.new("RGB", (32, 32), (220, 30, 40)).convert("CMYK")
    pixels = np.asarray(read(encoded(red, "JPEG", quality=95), "a.jpg").image)
    assert np.abs(pixels.mean(axis=(0, 1)) - (220, 30, 40)).max() < 6


def test_cmyk_tiff():
    red = Image.new("RGB", (32, 32), (220, 30, 40)).convert("CMYK")
    pixels = np.asarray(read(encoded(red, "TIFF"), "a.tif").image)
    assert np.abs(pixels.mean(axis=(0, 1)) - (220, 30, 40)).max() < 3


def test_lab():
    lab = Image.fromarray(np.full((8, 8, 3), (128, 128, 128), np.uint8)).convert("RGB")
    content = encoded(Image.frombytes("LAB", (8, 8), bytes([200, 0, 0] * 64)), "TIFF")
    found = np.asarray(read(content, "a.tif").image)
    assert lab.size == (8, 8)
    assert np.ptp(found[0, 0].astype(int)) < 6  # a = b = 0 is grey
    assert found[0, 0, 0] > 150


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    """The stored pixels are turned such that applying the orientation gives the upright picture back."""
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :12] = 255
    undo = {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: np.transpose,
        6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p, 2).T, 8: lambda p: np.rot90(p, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    found = read(encoded(stored, exif=exif))
    assert (found.width, found.height) == (24, 16)
    assert np.array_equal(np.asarray(found.image), upright)


def test_first_frame_of_an_animation_and_a_note():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    found = read(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "a.gif")
    assert np.asarray(found.image)[0, 0].tolist() == [255, 0, 0]
    assert "several frames" in found.notes[0]


def test_first_page_of_a_tiff():
    pages = [Image.new("L", (16, 16), level) for level in (10, 200)]
    found = read(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "a.tif")
    assert np.asarray(found.image)[0, 0] == 10


def test_wrong_extension_is_admitted_with_a_note():
    found = read(encoded(colours()), "a.jpg")
    assert found.format == "PNG"
    assert "PNG picture under the extension .jpg" in found.notes[0]


def test_reduced_decode_of_a_jpeg_keeps_the_size_in_the_file():
    content = encoded(colours(512), "JPEG")
    found = read(content, "a.jpg", at_least_px=64)
    assert (found.width, found.height) == (512, 512)
    assert 64 <= min(found.image.size) < 512


def refusal(content, name="a.png", limits=LIMITS):
    with pytest.raises(Refused) as caught:
        decode(content, name, limits)
    assert name in str(caught.value)
    return caught.value.code


def test_refusals():
    whole = encoded(colours(64))
    jpeg = encoded(colours(64), "JPEG")
    assert refusal(b"") == "empty"
    assert refusal(b"just words, no picture at all") == "not_a_picture"
    assert refusal(whole[: len(whole) // 2]) == "truncated"
    assert refusal(jpeg[: len(jpeg) // 2], "a.jpg") == "truncated"
    assert refusal(whole[:8] + bytes(100)) == "damaged"
    assert refusal(whole, limits=Limits(max_elements=1000)) == "too_many_pixels"
    assert refusal(encoded(Image.new("L", (7, 7)))) == "too_small"
    assert refusal(b"\x00\x00\x00\x18ftypheic" + bytes(64), "a.jpg") == "unsupported_format"
    assert refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.eps") == "not_a_picture"


def test_pixel_bomb_is_refused_from_its_header():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert refusal(bomb) == "too_many_pixels"


def test_narrow_pictures_are_taken():
    found = read(encoded(Image.new("L", (300, 3), 7)))
    assert fit_to_square(found.image, 32, "pad", 1).shape == (32, 32, 1)


def test_fit_keeps_a_picture_of_the_right_size():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    assert np.array_equal(fit_to_square(Image.fromarray(pixels), 28, "stretch", 1)[:, :, 0], pixels)


def test_fit_aspects():
    wide = np.full((20, 60), 100, np.uint8)
    wide[:, :20] = 200
    image = Image.fromarray(wide)
    padded = fit_to_square(image, 30, "pad", 1)[:, :, 0]
    assert (padded[:9] == 100).all()  # the border's median colour
    assert padded[15, 2] == 200
    assert (np.abs(fit_to_square(image, 30, "crop", 1)[:, 1:-1].astype(int) - 100) <= 12).all()  # the middle has no 200
    stretched = fit_to_square(image, 30, "stretch", 1)[:, :, 0]
    assert (stretched[:, :8] > 190).all()
    assert (stretched[:, 13:] < 110).all()


def test_downscaling_is_antialiased():
    lines = np.zeros((128, 128), np.uint8)
    lines[:, ::2] = 255
    small = fit_to_square(Image.fromarray(lines), 16, "stretch", 1)
    assert small.std() < 8
    assert abs(small.mean() - 127) < 4


def test_channels():
    assert fit_to_square(colours(), 16, "stretch", 1).shape == (16, 16, 1)
    grey = fit_to_square(colours().convert("L"), 16, "stretch", 3)
    assert np.array_equal(grey[:, :, 0], grey[:, :, 2])


def facts_of(image, kind="PNG", **settings):
    return inspect_picture(Source(root="", locator="", content=encoded(image, kind, **settings)), LIMITS)


def test_facts():
    facts = facts_of(colours(100).resize((100, 50)))
    assert facts.details["width"] == 100
    assert facts.details["height"] == 50
    assert facts.details["is_grey"] is False
    assert facts.details["saturation"] > 0.1
    grey = facts_of(colours().convert("L").convert("RGB"), "JPEG")
    assert grey.details["is_grey"] is True
    assert len(facts.sha256) == 64


def test_facts_tell_a_plain_background_and_two_tones():
    glyph = np.zeros((28, 28), np.uint8)
    glyph[8:20, 12:16] = 255
    details = facts_of(Image.fromarray(glyph)).details
    assert details["background"] == 1
    assert details["two_tone"] == 1
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert facts_of(Image.fromarray(noisy)).details["background"] < 0.5


def test_flat_pictures_are_noted_and_have_no_key():
    facts = facts_of(Image.new("RGB", (32, 32), (10, 200, 30)))
    assert facts.near_key is None
    assert "one flat colour" in facts.notes[0]


def test_near_key_finds_copies_and_tells_others_apart():
    rng = np.random.default_rng(0)
    one, other = (
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((200, 200), Image.Resampling.BICUBIC)
        for _ in range(2)
    )
    key = near_key(one)
    assert key.dtype == np.float32
    assert np.linalg.norm(key) == pytest.approx(1, abs=1e-5)
    smaller = near_key(one.resize((90, 90)))
    brighter = near_key(one.point(lambda value: min(255, int(value * 1.1))))
    recompressed = near_key(Image.open(io.BytesIO(encoded(one, "JPEG", quality=40))))
    assert min(key @ smaller, key @ brighter, key @ recompressed) > 0.98
    assert key @ near_key(other) < 0.8
    assert key @ near_key(one.convert("L")) > 0.8


MALFORMED = {
    "pillow/broken.png": "damaged",
    "pillow/truncated_image.png": "truncated",
    "pillow/decompression_bomb.gif": "too_many_pixels",
    "pillow/cross_scan_line_truncated.tga": "truncated",
    "pillow/oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "damaged",
    "pillow/crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": "damaged",
    "derived/vide.png": "empty",
    "derived/bombe.png": "too_many_pixels",
    "derived/un_pixel.png": "too_small",
    "derived/texte.wav": "not_a_picture",
}
ADMITTED = (
    "derived/png_nomme.jpg",
    "derived/gif_et_zip.gif",
    "pillow/hopper_bad_exif.jpg",
    "pillow/broken_exif_dpi.jpg",
)


@pytest.mark.parametrize(("name", "code"), MALFORMED.items())
def test_malformed_collection_is_refused(name, code, shared_data: Path, capfd):
    with pytest.raises(Refused) as caught:
        inspect_picture(Source(root=str(shared_data / "malformed"), locator=name), LIMITS)
    assert caught.value.code == code
    capfd.readouterr()  # libtiff writes its own words


@pytest.mark.parametrize("name", ADMITTED)
def test_odd_but_good_files_are_admitted(name, shared_data: Path):
    assert inspect_picture(Source(root=str(shared_data / "malformed"), locator=name), LIMITS).size_bytes


def test_no_file_of_the_malformed_collection_raises_anything_else(shared_data: Path, capfd):
    root = shared_data / "malformed"
    n_admitted, reasons = 0, []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        try:
            inspect_picture(Source(root=str(root), locator=str(path.relative_to(root))), LIMITS)
            n_admitted += 1
        except Refused as refused:
            reasons.append(refused.reason)
    assert min(n_admitted, len(reasons)) > 5
    assert all(reason.endswith((".", "?")) for reason in reasons)
    capfd.readouterr()
