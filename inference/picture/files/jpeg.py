"""Walk through a JPEG's segments, and put together a clean file of those that decoding needs."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .exif import UNKNOWN_EXIF, Exif, read_exif
from .header import MAX_SEGMENTS, PictureHeader

START, END = b"\xff\xd8", b"\xff\xd9"

_APP0, _EXIF, _ICC, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_USUAL_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xD8)))
# Frames, tables, restart intervals, the two application segments that tell colours, and scans.
_NEEDED = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, _SCAN, _APP0, _ADOBE}
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FILL = re.compile(rb"\xff+")
_EXIF_SIGNATURE, _ICC_SIGNATURE = b"Exif\0\0", b"ICC_PROFILE\0"
_TAIL_BYTES = 4
# What another pass through the coefficients takes, compared with decoding them.
_PASS = 0.25


@dataclass(frozen=True, slots=True)
class Scan:
    """One pass through the picture.

    Attributes:
        components: Identifiers of the channels it holds.
        band: First and last coefficient it holds, 0 and 63 for all.
        is_whole: False for a scan that the end of the file cuts off.
    """

    components: tuple[int, ...]
    band: tuple[int, int]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class JpegParts:
    """Where a JPEG's parts lie.

    Attributes:
        pieces: Begin and end of what decoding needs, in bytes.
        scans: All passes, in order.
        components: Identifiers of the frame's channels, in order.
        is_progressive: True when the picture comes in passes of more and more detail.
        stray_bytes: Bytes between segments that belong to nothing.
        has_end: Whether the file has its end mark.
    """

    pieces: tuple[tuple[int, int], ...]
    scans: tuple[Scan, ...]
    components: tuple[int, ...]
    is_progressive: bool
    stray_bytes: int
    has_end: bool

    @property
    def is_complete_enough(self) -> bool:
        """Whether what a cut file holds shows all of the picture, its lowest rows aside."""
        if self.is_progressive:
            luma = [s for s in self.scans if s.is_whole and self.components[0] in s.components]
            bands = {i for scan in luma for i in range(scan.band[0], scan.band[1] + 1)}
            others = {c for scan in self.scans if scan.is_whole for c in scan.components}
            return bands >= set(range(64)) and others >= set(self.components)
        return {c for scan in self.scans for c in scan.components} >= set(self.components)


def clean_jpeg(data: bytes, parts: JpegParts, filling: bytes = b"") -> bytes:
    """Copy a JPEG without profiles, thumbnails and stray bytes, and with an end mark.

    Args:
        data: The whole file.
        parts: From ``read_jpeg``.
        filling: Put behind the last scan.
    """
    view = memoryview(data)
    return b"".join([START, *(view[begin:end] for begin, end in parts.pieces), filling, END])


def stray_tail_test(data: bytes, parts: JpegParts) -> bytes | None:
    """Give a copy that decodes alike only if the picture's data end before they should.

    Encoders fill the last byte with ones. Where it does not look like that, its last bits may
    belong to nothing; a copy in which they are others tells.

    Returns:
        The copy, with other bytes before the end mark; None where all looks as usual.
    """
    clean = bytearray(clean_jpeg(data, parts))
    tail = clean[-2 - _TAIL_BYTES : -2].rstrip(b"\xff")
    looks_usual = len(tail) < _TAIL_BYTES or (tail[-1] & 1 and len(set(tail)) > 1)
    if looks_usual or parts.is_progressive or 0xFF in tail:
        return None
    clean[-4:-2] = bytes(value ^ (0x55 if value != 0xAA else 0x56) for value in tail[-2:])
    return bytes(clean)


@dataclass(slots=True)
class _Walk:
    """Where a walk through the segments has come to, and what it passed by."""

    data: bytes
    at: int = 2
    stray: int = 0
    steps: int = 0
    is_cut: bool = False

    def segments(self) -> Iterator[tuple[int, int, int]]:
        """Yield each segment's marker, and begin and end of its content; ends at the end mark.

        Whoever gets a scan moves ``at`` behind what is encoded after it.
        """
        data = self.data
        while True:
            self.steps += 1
            if self.steps > MAX_SEGMENTS:
                raise ValueError("too many segments")
            found = data.find(b"\xff", self.at)
            fill = None if found < 0 else _FILL.match(data, found)
            if fill is None or fill.end() >= len(data):
                self.is_cut = True
                return
            self.stray += found - self.at
            marker = data[fill.end()]
            begin = self.at = fill.end() + 1
            if marker in _WITHOUT_LENGTH:
                self.stray += 2 if marker == 0 else 0
                continue
            if marker == _END:
                return
            if begin + 2 > len(data):
                self.is_cut = True
                return
            (length,) = struct.unpack_from(">H", data, begin)
            if length < 2 or marker == START[1]:
                raise ValueError("a segment without content")
            if begin + length > len(data):
                self.is_cut = True
                return
            self.at = begin + length
            yield marker, begin + 2, begin + length


def read_jpeg(data: bytes) -> PictureHeader:
    """Read the header of a JPEG and find its parts.

    Raises:
        ValueError: No picture can be decoded from the data.
        struct.error: A segment is too short for what it should hold.
        IndexError: Likewise.
    """
    walk = _Walk(data)
    pieces: list[tuple[int, int]] = []
    scans: list[Scan] = []
    exif: Exif = UNKNOWN_EXIF
    profile: dict[int, bytes] = {}
    frame: tuple[int, int, int] | None = None
    for marker, begin, end in walk.segments():
        piece_end = end
        if marker == _EXIF and data.startswith(_EXIF_SIGNATURE, begin) and exif == UNKNOWN_EXIF:
            exif = read_exif(data[begin:end])
        elif marker == _ICC and data.startswith(_ICC_SIGNATURE, begin):
            profile.setdefault(data[begin + 12], data[begin + 14 : end])
        elif marker in _FRAMES:
            if frame is not None:
                raise ValueError("two frames")
            frame = marker, begin, end
        elif marker == _SCAN:
            if frame is None:
                raise ValueError("no frame header before the scan")
            found = _NEXT_MARKER.search(data, end)
            walk.at = piece_end = _cut_end(data) if found is None else found.start()
            scans.append(_scan(data, begin, is_whole=found is not None))
        if marker in _NEEDED:
            start = begin - 4
            if pieces and pieces[-1][1] == start:
                start = pieces.pop()[0]
            pieces.append((start, piece_end))
    if frame is None or not scans:
        raise ValueError("the JPEG ends before its picture begins")
    return _header(data, frame, walk, (tuple(pieces), tuple(scans)), exif, profile)


def _header(
    data: bytes,
    frame: tuple[int, int, int],
    walk: _Walk,
    found: tuple[tuple[tuple[int, int], ...], tuple[Scan, ...]],
    exif: Exif,
    profile: dict[int, bytes],
) -> PictureHeader:
    marker, begin, end = frame
    pieces, scans = found
    bits, height, width, count = struct.unpack_from(">BHHB", data, begin)
    channels = [data[begin + 6 + 3 * i : begin + 9 + 3 * i] for i in range(count)]
    if begin + 6 + 3 * count > end or not 1 <= count <= 4:
        raise ValueError("the frame's channels are cut off")
    parts = JpegParts(
        pieces,
        scans,
        tuple(channel[0] for channel in channels),
        marker in _PROGRESSIVE,
        walk.stray,
        not walk.is_cut,
    )
    is_one_pass = len(scans) == 1 and len(scans[0].components) == count
    is_streamed = is_one_pass and marker in _USUAL_FRAMES
    return PictureHeader(
        "JPEG",
        width,
        height,
        width * height * min(count, 3),
        0 if is_streamed else _coefficient_bytes(width, height, channels),
        is_plain=marker in _USUAL_FRAMES and bits == 8 and not walk.stray and not walk.is_cut,
        passes=1 + (0 if is_one_pass else _PASS * len(scans)),
        exif=exif,
        jpeg=parts,
        profile=_joined(profile),
        is_cmyk=count == 4,
    )


def _cut_end(data: bytes) -> int:
    """End of what a cut file encodes: the first half of a mark encodes nothing."""
    tail = data[-_TAIL_BYTES:]
    return len(data) - len(tail) + len(tail.rstrip(b"\xff"))


def _scan(data: bytes, begin: int, is_whole: bool) -> Scan:
    count = data[begin]
    components = tuple(data[begin + 1 + 2 * i] for i in range(count))
    first, last = data[begin + 1 + 2 * count : begin + 3 + 2 * count]
    return Scan(components, (first, last), is_whole)


def _coefficient_bytes(width: int, height: int, channels: list[bytes]) -> int:
    """Memory in which a decoder keeps a picture that does not come in a single pass."""
    sampling = [(channel[1] >> 4, channel[1] & 15) for channel in channels]
    most_h, most_v = (max(values) for values in zip(*sampling, strict=True))
    if min(min(pair) for pair in sampling) < 1:
        raise ValueError("a channel without samples")
    # Two bytes for each of the 64 coefficients of a block.
    across, down = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    return sum(across * h * down * v * 128 for h, v in sampling)


def _joined(profile: dict[int, bytes]) -> bytes:
    """Put an ICC profile together again; empty when a part is missing."""
    numbers = sorted(profile)
    is_complete = numbers == list(range(1, len(numbers) + 1))
    return b"".join(profile[number] for number in numbers) if is_complete else b""
