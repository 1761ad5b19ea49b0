"""What a picture's header says, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .exif import ORIENTATION, UNKNOWN_EXIF, Exif, TiffTag

if TYPE_CHECKING:
    from ..colour.space import ColourSpace
    from .jpeg import JpegParts

PictureFormat = Literal["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "OpenEXR", "Radiance HDR"]

IMAGE_WIDTH = 256
IMAGE_HEIGHT = 257
BITS_PER_SAMPLE = 258
PHOTOMETRIC = 262
SAMPLES_PER_PIXEL = 277
EXTRA_SAMPLES = 338

# Real files have thousands of segments, or one for every 8 KB; millions of empty ones only take time.
MAX_SEGMENTS = 1 << 18


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What can be told of a picture without decoding it.

    Attributes:
        format: The file format.
        width: Stored width in pixels, before the picture is turned upright.
        height: Stored height in pixels.
        output_bytes: Memory of the decoded picture at full size.
        working_bytes: Memory that decoding takes besides, roughly.
        is_plain: True when decoders cannot read the header in another way than this one, nor take
            much more memory or time than its size lets expect.
        passes: How often decoding goes through the whole picture, roughly.
        exif: Orientation and lens.
        is_animated: True when more frames or pages follow the first picture.
        grey_key: The grey value, as stored, that a PNG without alpha declares transparent.
        grey_bits: Bits of a stored grey value that ``grey_key`` counts in.
        tiff: Fields of a TIFF's first directory, None for other formats.
        jpeg: Where a JPEG's parts lie, None for other formats.
        profile: The embedded ICC profile, empty without one.
        space: The colour space that is told in other ways than by a profile, None for sRGB.
        is_cmyk: True when the file stores printing inks.
    """

    format: PictureFormat
    width: int
    height: int
    output_bytes: int
    working_bytes: int = 0
    is_plain: bool = True
    passes: float = 1.0
    exif: Exif = UNKNOWN_EXIF
    is_animated: bool = False
    grey_key: int | None = None
    grey_bits: int = 8
    tiff: dict[int, TiffTag] | None = None
    jpeg: JpegParts | None = None
    profile: bytes = b""
    space: ColourSpace | None = None
    is_cmyk: bool = False

    @property
    def is_inverted_tiff(self) -> bool:
        """True for a grey TIFF in which 0 is white."""
        return self._field(PHOTOMETRIC, -1) == 0

    @property
    def samples(self) -> int:
        """Channels that a TIFF stores; 0 for other formats."""
        return self._field(SAMPLES_PER_PIXEL, 1) if self.tiff else 0

    @property
    def bits(self) -> int:
        """Bits of a TIFF's first channel; 1 when it does not say."""
        return self._field(BITS_PER_SAMPLE, 1)

    @property
    def extra_sample(self) -> int:
        """Meaning of a TIFF's fourth channel: 0 unsaid, 1 premultiplied, 2 straight alpha."""
        return self._field(EXTRA_SAMPLES, 0)

    @property
    def orientation_field(self) -> TiffTag | None:
        """Where a TIFF keeps its orientation."""
        return (self.tiff or {}).get(ORIENTATION)

    def _field(self, tag: int, default: int) -> int:
        return int(self.tiff[tag].number) if self.tiff and tag in self.tiff else default
