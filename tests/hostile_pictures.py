"""Small files that claim, repeat or hide something, so that decoding them naively takes far too much."""

from __future__ import annotations

import struct
import zlib


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    extra: tuple[tuple[bytes, bytes], ...] = (),
    data: bytes | None = None,
) -> bytes:
    """A black PNG of any kind of colours; ``extra`` chunks come before the picture."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if data is None:
        row = bytes(1 + (width * channels * depth + 7) // 8)
        packer = zlib.compressobj(9)
        data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *extra, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(tag, body) for tag, body in chunks)


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """One segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg(width: int, height: int, frame: int, scans: list[tuple[bytes, bytes]]) -> bytes:
    """A grey JPEG without any data behind its scans, which decoders fill up.

    Args:
        width: Pixels.
        height: Pixels.
        frame: Marker of the frame: 0xC0 for baseline, 0xC2 for progressive.
        scans: For each scan the identifiers of its channels (of 1, 2 and 3), and the three bytes
            that tell which coefficients it holds.
    """
    quantization = jpeg_segment(0xDB, b"\0" + b"\x10" * 64)
    channels = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head = jpeg_segment(frame, struct.pack(">BHHB", 8, height, width, 3) + channels)
    # One code of one bit, for "nothing here", in the tables of both kinds of coefficients.
    codes = b"\1" + bytes(15) + b"\0"
    tables = jpeg_segment(0xC4, b"\x00" + codes) + jpeg_segment(0xC4, b"\x10" + codes)
    body = b""
    for numbers, spectrum in scans:
        parts = b"".join(bytes((number, 0)) for number in numbers)
        body += jpeg_segment(0xDA, bytes((len(numbers),)) + parts + spectrum)
    return b"\xff\xd8" + quantization + head + tables + body + b"\xff\xd9"


def channel_by_channel_jpeg(side: int) -> bytes:
    """A baseline JPEG with a scan for each channel, which decoders keep in memory as a whole."""
    return jpeg(side, side, 0xC0, [(bytes((number,)), b"\0\x3f\0") for number in (1, 2, 3)])


def jpeg_of_many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG that goes through its picture again and again."""
    first = [(b"\1\2\3", b"\0\0\1")]
    return jpeg(
        side, side, 0xC2, first + [(b"\1", b"\1\x3f\1")] + [(b"\1\2\3", b"\0\0\x10")] * count
    )


def tiff(fields: list[tuple[int, int, int, int]], body: bytes = b"") -> bytes:
    """A little-endian TIFF of these entries (tag, type, count, value); ``body`` lies behind them."""
    entries = b"".join(struct.pack("<HHII", *field) for field in fields)
    return struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4) + body


def tiff_fields(width: int, height: int, **others: int) -> list[tuple[int, int, int, int]]:
    """The entries of a grey TIFF in one strip that lies behind them."""
    values = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        273: 1000,
        277: 1,
        278: height,
        279: 64,
        **{int(tag[1:]): value for tag, value in others.items()},
    }
    return [(tag, 4, 1, value) for tag, value in sorted(values.items())]


def tiff_of_two_sizes(first: int, second: int) -> bytes:
    """A TIFF that tells its size twice."""
    small, large = tiff_fields(first, first), tiff_fields(second, second)
    both = [*small[:1], *large[:1], *small[1:2], *large[1:]]
    return tiff(both, zlib.compress(bytes(1 << 16)))


def webp_lossless(side: int) -> tuple[bytes, bytes]:
    """The chunk of a black lossless picture: its name and content."""
    packed = (side - 1) | (side - 1) << 14
    # No transforms, no colour cache, and five codes of a single symbol, which take no bits.
    return b"VP8L", b"\x2f" + struct.pack("<I", packed) + b"\x88\x88\x08" + bytes(24)


def webp_canvas(side: int, flags: int = 0) -> tuple[bytes, bytes]:
    """The chunk that announces a canvas."""
    return b"VP8X", bytes((flags, 0, 0, 0)) + (side - 1).to_bytes(3, "little") * 2


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of chunks."""
    body = b"".join(
        tag + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)
        for tag, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def hdr(lines: list[bytes], side: int) -> bytes:
    """A Radiance HDR whose header holds ``lines``, with next to no picture behind it."""
    head = [b"#?RADIANCE", *lines, b"FORMAT=32-bit_rle_rgbe", b"", b"-Y %d +X %d" % (side, side)]
    return b"\n".join([*head, bytes(64)])


def exr(attributes: list[tuple[bytes, bytes, bytes]], version: int = 2) -> bytes:
    """An OpenEXR file of attributes (name, type, value), with nothing behind them."""
    body = b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value
        for name, kind, value in attributes
    )
    return b"v/1\x01" + struct.pack("<I", version) + body + b"\0" + bytes(64)


def exr_attributes(side: int, channels: int = 3) -> list[tuple[bytes, bytes, bytes]]:
    """What the header of an uncompressed OpenEXR picture must hold."""
    names = [b"B", b"G", b"R"] if channels == 3 else [b"c%05d" % i for i in range(channels)]
    listed = b"".join(name + b"\0" + struct.pack("<iIii", 2, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<4i", 0, 0, side - 1, side - 1)
    return [
        (b"channels", b"chlist", listed),
        (b"compression", b"compression", b"\3"),
        (b"dataWindow", b"box2i", window),
        (b"displayWindow", b"box2i", window),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1.0)),
        (b"screenWindowCenter", b"v2f", bytes(8)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1.0)),
    ]


def gif_of_clear_codes(count: int) -> bytes:
    """A GIF whose frame holds so many bytes of nothing but clear codes."""
    # Nine bits each: 0x100 eight times in nine bytes.
    group = sum(0x100 << (9 * i) for i in range(8)).to_bytes(9, "little")
    codes = (group * (count // 9 + 1))[:count]
    blocks = b"".join(
        bytes((len(codes[i : i + 255]),)) + codes[i : i + 255] for i in range(0, count, 255)
    )
    head = struct.pack("<6sHHBBB", b"GIF89a", 64, 64, 0xF7, 0, 0) + bytes(768)
    return head + b"\x2c" + struct.pack("<HHHHB", 0, 0, 64, 64, 0) + b"\x08" + blocks + b"\0;"


def bmp(side: int, bits: int, compression: int) -> bytes:
    """A BMP with next to no picture behind its header."""
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, bits, compression, 0, 0, 0, 2, 2)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 62) + head + bytes(8) + b"\0\1" * 32
