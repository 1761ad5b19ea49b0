"""File names that every system takes, and text that shows what is there."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.inference.naming import LONGEST_STEM, on_disk, safe_stem, shown, token

LONGEST_ENDING = "_jpeg_999_Base_Color.png"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("chair ä", "chair ä"),
        ("Stühl 椅子", "Stühl 椅子"),
        (r"..\..\precious", "_.._precious"),
        ("a/b", "a_b"),
        (".hidden", "hidden"),
        ("...", "picture"),
        ("", "picture"),
        ("  ", "picture"),
        ("end. ", "end"),
        ("con", "_con"),
        ("CON.tar", "_CON.tar"),
        ("lpt9", "_lpt9"),
        ("com10", "com10"),
        ("console", "console"),
        ("a\nb\tc\0d", "a_b_c_d"),
        ("exe\u202egpj", "exe_gpj"),
        ('<>:"|?*', "_______"),
        ("caf\udce9", "caf_"),
    ],
)
def test_stems(name, stem):
    assert safe_stem(name) == stem


def test_long_names_are_cut_between_letters_and_stay_apart():
    one, two = (safe_stem("ü" * 126 + end) for end in ("1", "2"))
    assert len(one.encode()) <= LONGEST_STEM
    assert one != two
    assert one.startswith("ü" * 90)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300) | st.text("../\\. ~:-con\u202e\udc80ä", max_size=300))
def test_every_name_becomes_one_that_every_system_takes(name):
    for stem in (safe_stem(name), token(safe_stem(name))):
        raw = stem.encode()  # valid UTF-8
        assert 0 < len(raw) <= LONGEST_STEM
        assert len(raw) + len(LONGEST_ENDING) <= 255
        assert not set(stem) & set('<>:"/\\|?*' + "".join(map(chr, range(32))))
        assert stem[0] not in ". "
        assert stem[-1] not in ". "
        assert stem.partition(".")[0].casefold() not in {"con", "nul", "aux", "prn", "com1"}
    assert safe_stem(safe_stem(name)) == safe_stem(name)
    word = token(name)
    assert token(word) == word
    assert not set(word) & set(string.whitespace)
    assert not word.startswith("-")
    assert shown(name).encode().decode() == shown(name)
    assert len(shown(name).splitlines()) <= 1


def test_names_that_are_one_file_somewhere():
    assert on_disk("Ä") == on_disk("a\u0308")
    assert on_disk("a b") != on_disk("a_b")
    assert token("my chair") == token("my_chair")


def test_messages_show_what_a_name_hides():
    error = PictureError("exe\u202egpj.png, caf\udce9 and a\nb cannot be read: choose another.")
    assert str(error) == r"exe\u202egpj.png, caf\xe9 and a\x0ab cannot be read: choose another."
    assert shown("weiß 椅子 👩\u200d👧") == "weiß 椅子 👩\u200d👧"
