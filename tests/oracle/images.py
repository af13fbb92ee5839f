"""The image files on which decoding and preprocessing are compared.

Photographs come out of scikit-learn's and scikit-image's wheels; the rest is drawn here.
Formats that Pillow can't write (interlaced or 16-bit RGB PNG, RLE BMP, GIF frames smaller
than the canvas) are written byte by byte.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def photograph(array, box=None, size=None):
    """A part of a photograph, reduced to a size."""
    image = Image.fromarray(array).convert("RGB")
    image = image.crop(box) if box else image
    return image.resize(size, Image.LANCZOS) if size else image


def pattern(width, height, channels, seed):
    """Smooth colour waves with some noise, u8 [height,width,channels]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x * (0.11 + 0.07 * c) + c) * np.cos(y * (0.05 + 0.04 * c)) for c in range(channels)]
    return np.clip(np.stack(waves, -1) + rng.integers(-20, 21, (height, width, channels)), 0, 255).astype(np.uint8)


def chunk(kind, body):
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(array, depth=8, interlaced=False):
    """A PNG of grey, RGB or RGBA samples, u8 or u16, optionally Adam7; rows are not filtered."""
    height, width, channels = array.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    samples = array.astype(">u2" if depth == 16 else "u1")
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes
                    for row in samples[y::dy, x::dx] if row.size)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def bmp_rle8(indices, palette):
    """An RLE8 BMP: encoded runs, literal runs, ends of line, bottom row first."""
    height, width = indices.shape
    body = bytearray()
    for row in indices[::-1]:
        x = 0
        while x < width:
            run = 1
            while x + run < width and run < 255 and row[x + run] == row[x]:
                run += 1
            if run == 1 and width - x >= 4 and len(set(row[x:x + 4].tolist())) == 4:
                body += bytes([0, 4]) + row[x:x + 4].tobytes()
                x += 4
            else:
                body += bytes([run, row[x]])
                x += run
        body += b"\0\0"
    body += b"\0\1"
    colours = b"".join(bytes([b, g, r, 0]) for r, g, b in palette)
    offset = 14 + 40 + len(colours)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 2835, 2835, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + colours + bytes(body)


def gif_codes(indices, depth):
    """LZW data of a GIF frame, written without compression: a clear code often enough to stay at one width."""
    clear, width = 1 << depth, depth + 1
    bits, count, out, codes = 0, 0, bytearray(), []
    for position, index in enumerate(indices):
        if position % (clear - 2) == 0:
            codes.append(clear)
        codes.append(int(index))
    for code in codes + [clear + 1]:
        bits |= code << count
        count += width
        while count >= 8:
            out.append(bits & 255)
            bits, count = bits >> 8, count - 8
    if count:
        out.append(bits & 255)
    blocks = b"".join(bytes([len(out[i:i + 255])]) + bytes(out[i:i + 255]) for i in range(0, len(out), 255))
    return bytes([depth]) + blocks + b"\0"


def gif_small_first_frame(canvas, box, palette, background, transparent):
    """A GIF whose only frame covers part of the canvas."""
    left, top, width, height = box
    rng = np.random.default_rng(5)
    indices = np.repeat(rng.integers(0, len(palette), (height, (width + 2) // 3)), 3, 1)[:, :width].ravel()
    control = b"" if transparent is None else b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    return (b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80 | 2, background, 0) + bytes(sum(palette, ())) + control
            + b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + gif_codes(indices, 3) + b"\x3b")


def saved(image, form, **options):
    """The bytes of an image as Pillow writes them."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pgm16(array):
    """A binary PGM of 16-bit samples."""
    return b"P5\n# sixteen bits\n%d %d\n65535\n" % array.shape[::-1] + array.astype(">u2").tobytes()


def photographs():
    """Real pictures in the ways in which cameras and the web store them."""
    china, flower = load_sample_image("china.jpg"), load_sample_image("flower.jpg")
    astronaut, coffee, cat = data.astronaut(), data.coffee(), data.chelsea()
    astronaut_part = photograph(astronaut, (150, 0, 330, 180))
    grey_camera = Image.fromarray(data.camera()).resize((150, 110), Image.LANCZOS)
    flower_part = photograph(flower, (180, 60, 420, 300), (160, 160))
    return {
        "china.jpg": saved(photograph(china, None, (200, 134)), "JPEG", quality=80),
        "flower_444.jpg": saved(flower_part, "JPEG", quality=90, subsampling=0),
        "coffee_422_progressive.jpg": saved(photograph(coffee, (150, 60, 450, 285), (160, 120)), "JPEG", quality=80,
                                            subsampling=1, progressive=True),
        "cat_progressive.jpg": saved(photograph(cat, (80, 20, 380, 270), (150, 125)), "JPEG", quality=75, progressive=True),
        "camera_grey.jpg": saved(grey_camera, "JPEG", quality=85),
        "flower_cmyk.jpg": saved(flower_part.convert("CMYK").resize((70, 70)), "JPEG", quality=85),
        "astronaut_restart.jpg": saved(astronaut_part.resize((99, 101)), "JPEG", quality=70, restart_marker_rows=1),
        "astronaut.png": saved(astronaut_part.resize((120, 120), Image.LANCZOS), "PNG", optimize=True),
        "cat.png": saved(photograph(cat, (100, 30, 350, 190), (125, 80)), "PNG", optimize=True),
        "coffee_portrait.png": saved(photograph(coffee, (200, 50, 380, 350), (75, 125)), "PNG", optimize=True),
        "china_rotated_exif.jpg": saved(photograph(china, (0, 0, 300, 200), (90, 60)), "JPEG", quality=80, exif=exif_rotation()),
    }


def exif_rotation():
    """EXIF that asks for a quarter turn, which Image.open(...).convert("RGB") does not carry out."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def drawings():
    """Sizes and PNG kinds at the edges."""
    rgba = pattern(45, 31, 4, 3)
    grey16 = pattern(40, 28, 1, 4)[..., 0].astype(np.uint16) * 256 + 77
    dark16 = pattern(40, 28, 1, 4)[..., 0].astype(np.uint16) * 2
    quantised = Image.fromarray(pattern(60, 50, 3, 5)).quantize(16)
    see_through = quantised.copy()
    see_through.info["transparency"] = 3
    return {
        "one_1x1.png": png(np.array([[[200, 10, 90]]])),
        "tiny_2x3.png": png(pattern(2, 3, 3, 10)),
        "tiny_1x7.png": png(pattern(1, 7, 3, 11)),
        "wide_1000x3.png": png(pattern(1000, 3, 3, 12)),
        "tall_3x900.png": png(pattern(3, 900, 3, 13)),
        "exact_28x28.png": png(pattern(28, 28, 3, 14)),
        "exact_336x336.png": saved(Image.fromarray(pattern(42, 42, 3, 15)).resize((336, 336), Image.NEAREST), "PNG", optimize=True),
        "off_by_one_337x335.png": saved(Image.fromarray(pattern(42, 42, 3, 16)).resize((337, 335), Image.NEAREST), "PNG", optimize=True),
        "noise_53x47.png": png(np.random.default_rng(17).integers(0, 256, (47, 53, 3))),
        "black_white_31x64.png": png(np.where(np.indices((64, 31)).sum(0) % 2, 255, 0)[..., None].repeat(3, 2)),
        "grey.png": png(pattern(50, 33, 1, 18)),
        "grey_alpha.png": png(pattern(37, 41, 2, 19)),
        "rgba.png": png(rgba),
        "rgba_interlaced.png": png(rgba, interlaced=True),
        "rgb_interlaced.png": png(pattern(43, 29, 3, 20), interlaced=True),
        "palette.png": saved(quantised, "PNG"),
        "palette_transparent.png": saved(see_through, "PNG", transparency=3),
        "one_bit.png": saved(Image.fromarray(pattern(61, 47, 1, 21)[..., 0]).convert("1"), "PNG"),
        "grey_2bit.png": saved(Image.fromarray(pattern(30, 30, 1, 26)[..., 0]).quantize(4), "PNG", bits=2),
        "grey16.png": png(grey16[..., None], 16),
        "grey16_dark.png": png(dark16[..., None], 16),
        "rgb16.png": png(pattern(33, 26, 3, 22).astype(np.uint16) * 256 + pattern(33, 26, 3, 23), 16),
        "rgba16.png": png(pattern(21, 17, 4, 24).astype(np.uint16) * 256 + 9, 16),
        "rgb_colour_key.png": colour_key_png(),
        "grey16_dark.pgm": pgm16(dark16),
        "grey.pgm": saved(Image.fromarray(pattern(35, 27, 1, 25)[..., 0]), "PPM"),
        "rgb.ppm": saved(Image.fromarray(pattern(35, 27, 3, 27)), "PPM"),
    }


def colour_key_png():
    """An RGB PNG in which a tRNS chunk declares one colour transparent."""
    array = pattern(30, 20, 3, 28)
    content = png(array)
    at = content.index(b"IDAT") - 4
    key = struct.pack(">HHH", *(int(v) for v in array[3, 4]))
    return content[:at] + chunk(b"tRNS", key) + content[at:]


def other_formats():
    """BMP and GIF."""
    rgb = Image.fromarray(pattern(47, 35, 3, 30))
    indices = np.repeat(np.random.default_rng(31).integers(0, 8, (23, 14)), 3, 1)[:, :41].astype(np.uint8)
    indices[::4] = np.arange(41) % 8
    palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 240, 30), (30, 220, 210), (128, 64, 200), (255, 255, 255)]
    frames = [Image.fromarray(pattern(40, 30, 3, 32 + k)).quantize(32) for k in range(3)]
    shaded = Image.fromarray(pattern(38, 22, 3, 40)).quantize(16)
    return {
        "rgb24.bmp": saved(rgb, "BMP"),
        "palette8.bmp": saved(rgb.quantize(64), "BMP"),
        "one_bit.bmp": saved(rgb.convert("1"), "BMP"),
        "rgba32.bmp": saved(Image.fromarray(pattern(19, 13, 4, 41)), "BMP"),
        "rle8.bmp": bmp_rle8(indices, palette),
        "still.gif": saved(rgb.quantize(128), "GIF"),
        "animated.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0),
        "transparent.gif": saved(shaded, "GIF", transparency=2),
        "interlaced.gif": saved(shaded, "GIF", interlace=True),
        "small_first_frame.gif": gif_small_first_frame((40, 30), (7, 5, 20, 15), palette, 4, None),
        "small_first_frame_transparent.gif": gif_small_first_frame((40, 30), (7, 5, 20, 15), palette, 4, 6),
    }


def all_images():
    """File name to file bytes."""
    return {**photographs(), **drawings(), **other_formats()}
