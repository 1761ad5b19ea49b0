"""Names that are safe on every disk, and text that is safe to show.

A picture's name is whatever its maker's system allowed: separators of other systems, control
characters, marks that turn the direction of writing, bytes that are no UTF-8, 255 bytes of it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

LONGEST_STEM = (
    200  # bytes of UTF-8; with every ending a name stays below 255, which all systems take
)
_DIGEST = 8  # characters that keep names apart after their ends were cut off
_NAMELESS = "picture"
_FORBIDDEN = frozenset('<>:"/\\|?*')  # on Windows; Blender takes a backslash for a slash everywhere
# What turns the direction of writing, so that "gpj.exe" can look like "exe.jpg".
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9¹²³])", re.IGNORECASE
)


def shown(text: str) -> str:
    r"""Text on one line, left to right, in valid UTF-8.

    Bytes that were no UTF-8, control characters and marks of direction become ``\xe9`` and
    ``\u202e``; everything else stays.
    """
    return "".join(_escaped(c) if _is_unshowable(c) else c for c in text)


def safe_stem(text: str) -> str:
    """A file name without ending that Blender and every system take as it stands.

    Args:
        text: What the file is to be called, such as a picture's name without its ending.

    Returns:
        At most ``LONGEST_STEM`` bytes of UTF-8, never empty, never hidden, without separators.
    """
    kept = "".join("_" if c in _FORBIDDEN or _is_unshowable(c) else c for c in text)
    stem = kept.strip(" .") or _NAMELESS  # hidden on Unix in front; cut off by Windows at the end
    if _RESERVED.fullmatch(stem.partition(".")[0].rstrip()):
        stem = f"_{stem}"
    if len(stem.encode()) > LONGEST_STEM:
        raw = text.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(raw).hexdigest()[:_DIGEST]
        short = stem.encode()[: LONGEST_STEM - _DIGEST - 1].decode("utf-8", "ignore")
        stem = f"{short.rstrip(' .')}~{digest}"
    return stem


def token(stem: str) -> str:
    """A name of letters, digits, "-", "_" and "." alone, letters of any alphabet.

    For names that other files hold, such as an OBJ file's material library: readers split them at
    spaces and take a leading "-" for an option. Different names may become the same.
    """
    composed = unicodedata.normalize("NFC", safe_stem(stem))
    word = "".join(c if _is_of_words(c) or c in "-_." else "_" for c in composed)
    return f"_{word[1:]}" if word.startswith("-") else word


def on_disk(name: str) -> str:
    """Equal for names that are one file on some system's disk.

    Most compare names without case, macOS also without the difference between composed and
    decomposed letters.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_unshowable(c: str) -> bool:
    return c in _DIRECTION or unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}


def _is_of_words(c: str) -> bool:
    return c.isalnum() or unicodedata.category(c).startswith("M")  # vowels of Indic scripts


def _escaped(c: str) -> str:
    code = ord(c)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
