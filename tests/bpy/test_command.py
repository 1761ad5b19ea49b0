"""The command line: files, messages and exit status as a Unix tool's."""

import json

import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.inference.errors import OutputError
from image_to_mesh.operators import command, session
from image_to_mesh.operators.batch.inputs import pictures_in
from image_to_mesh.operators.batch.names import plan_outputs
from image_to_mesh.operators.command import run_cli


@pytest.fixture
def pictures(tmp_path):
    for name in ("a.png", "b.jpg", "bad.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_each_picture_gets_its_line_and_file(pipeline, pictures, capsys):
    output = pictures / "out"
    status = run_cli(
        [str(pictures / "a.png"), str(pictures / "b.jpg"), "--output", str(output),
         "--format", "stl", "--engine", "object", "--detail", "high", "--texture-size", "512",
         "--size", "2", "--solid", "--fov", "90", "--device", "cpu", "--seed", "4",
         "--cut-out", "none"]
    )  # fmt: skip
    assert status == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " -> " in line]
    assert lines[0].startswith(f"{pictures / 'a.png'} -> {output / 'a.stl'} (7 faces, ")
    assert len(lines) == 2
    assert {p.name for p in output.iterdir()} == {
        "a.stl", "a.json", "b.stl", "b.json", "batch.jsonl",
    }  # fmt: skip
    request = pipeline.requests[0]
    assert (request.engine, request.detail, request.cut_out) == ("object", "high", "none")
    assert (request.texture_size, request.size_m, request.is_solid) == (512, 2.0, True)
    assert request.fov_x == pytest.approx(1.5708, abs=1e-4)
    assert (request.device, request.seed) == ("cpu", 4)


def test_a_bad_picture_is_an_error_line_and_status_1(pipeline, pictures, capsys):
    arguments = [str(pictures / n) for n in ("a.png", "bad.png", "b.jpg")]
    assert run_cli([*arguments, "-o", str(pictures / "out"), "--format", "ply"]) == 1
    error = capsys.readouterr().err.splitlines()
    assert error == [
        f"image_to_mesh: {pictures / 'bad.png'}: The picture cannot be read: choose another."
    ]
    assert (pictures / "out" / "b.ply").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.png", "--format", "max"],
        ["a.png", "--texture-size", "7"],
        ["a.png", "--texture-size", "many"],
        ["a.png", "--size", "0"],
        ["a.png", "--fov", "180"],
        ["a.png", "--what"],
        ["a.png", "--pick", "0.5"],
        ["a.png", "--pick", "0.5,1.5"],
        ["a.png", "--pick", "here,there"],
        ["a.png", "--pick-not", "0.5,0.5"],
        ["a.png", "--pick-box", "0.9,0.1,0.2,0.8"],
        ["--photos", "folder", "--pick", "0.5,0.5"],
    ],
)
def test_wrong_arguments_are_status_2(pipeline, arguments, capsys):
    assert run_cli(arguments) == 2
    assert "usage: image_to_mesh" in capsys.readouterr().err
    assert pipeline.requests == []


def test_the_subject_can_be_picked_and_picks_are_settings_of_the_result(pipeline, pictures, capsys):
    arguments = [str(pictures / "a.png"), "-o", str(pictures / "out"), "--format", "ply"]
    picked = [*arguments, "--pick", "0.5,0.4", "--pick", "0.6,0.5", "--pick-not", "0.1,0.9"]
    assert run_cli([*picked, "--pick-box", "0,0.1,1,0.9"]) == 0
    picks = pipeline.requests[0].picks
    assert picks.points == ((0.5, 0.4, True), (0.6, 0.5, True), (0.1, 0.9, False))
    assert picks.box == (0.0, 0.1, 1.0, 0.9)
    record = json.loads((pictures / "out" / "a.json").read_text())
    assert record["settings"]["picks"]["box"] == [0.0, 0.1, 1.0, 0.9]
    # The same picks keep what there is, others are another result.
    assert run_cli([*picked, "--pick-box", "0,0.1,1,0.9"]) == 0
    assert run_cli(picked) == 1
    assert "other settings" in capsys.readouterr().err
    assert run_cli([*arguments, "--overwrite"]) == 0
    assert len(pipeline.requests) == 2
    assert pipeline.requests[1].picks is None


def test_help_is_status_0(capsys):
    assert run_cli(["--help"]) == 0
    assert "--texture-size" in capsys.readouterr().out


def test_a_single_picture_may_name_its_file(pipeline, pictures):
    target = pictures / "made" / "chair.stl"
    assert run_cli([str(pictures / "a.png"), "-o", str(target)]) == 0
    assert target.exists()
    record = json.loads(target.with_suffix(".json").read_text())
    assert (record["picture"], record["format"]) == ("a.png", "stl")


def test_a_folder_stands_for_its_pictures(pipeline, pictures, capsys):
    assert run_cli([str(pictures), "-o", str(pictures / "out"), "--format", "ply", "-q"]) == 1
    made = sorted(p.name for p in (pictures / "out").glob("*.ply"))
    assert made == ["a.ply", "b.ply"]
    assert " -> " not in capsys.readouterr().out


def test_finished_pictures_are_kept_and_overwrite_makes_them_anew(pipeline, pictures, capsys):
    arguments = [str(pictures / "a.png"), "-o", str(pictures / "out"), "--format", "ply"]
    assert run_cli(arguments) == 0
    assert run_cli(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("(7 faces, kept)")
    assert len(pipeline.requests) == 1
    assert run_cli([*arguments, "--overwrite"]) == 0
    assert len(pipeline.requests) == 2


def test_an_unexpected_failure_shows_its_traceback_when_asked(pipeline, pictures, capsys):
    pipeline.error = KeyError("lost key")
    arguments = [str(pictures / "a.png"), "-o", str(pictures / "out")]
    assert run_cli(arguments) == 1
    assert "lost key" not in capsys.readouterr().err
    assert run_cli([*arguments, "--verbose"]) == 1
    assert "lost key" in capsys.readouterr().err


def test_an_unusable_output_is_one_sentence(pipeline, pictures, capsys):
    (pictures / "file").write_text("x")
    assert run_cli([str(pictures / "a.png"), "-o", str(pictures / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("image_to_mesh: ")
    assert line.endswith("choose another output folder.")


def test_an_empty_folder_is_one_sentence(pipeline, tmp_path, capsys):
    assert run_cli([str(tmp_path)]) == 1
    assert "There is no picture in" in capsys.readouterr().err


def test_a_run_under_way_goes_first(pipeline, pictures, capsys, monkeypatch):
    monkeypatch.setattr(session, "busy_reason", lambda: "A picture is being worked on")
    assert run_cli([str(pictures / "a.png")]) == 1
    assert capsys.readouterr().err == "image_to_mesh: A picture is being worked on.\n"


def test_ctrl_c_is_status_1(pipeline, pictures, capsys, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "carry_out", interrupted)
    assert run_cli([str(pictures / "a.png")]) == 1
    assert "interrupted: run the same again" in capsys.readouterr().err


def test_the_command_is_registered_and_given_back():
    assert len(command._handles) == 1
    image_to_mesh.unregister()
    assert command._handles == []
    image_to_mesh.register()


def test_planned_names_are_stable_whatever_the_case(tmp_path):
    pictures = [tmp_path / n for n in ("Chair.PNG", "chair.png", "chair.jpg", "table.jpg")]
    stems = [plan.stem for plan in plan_outputs(pictures, tmp_path)]
    assert stems == ["Chair_png", "chair_png_2", "chair_jpg", "table"]


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="is not a folder"):
        pictures_in(tmp_path / "gone")
