"""Estimate cameras with pycolmap, in a process of its own.

Run as a script: its one argument is a JSON file that ``estimate.py`` wrote. It must not import
anything of the extension but what lies beside it: ``colmap_evidence.py``, ``repeats.py``,
``mirrors.py`` and ``parent.py``.
A process of its own never holds up Blender, can be ended at any moment, and takes nobody's work
along if the native code crashes. It writes one JSON object a line:
``{"share": 0.4, "stage": "Matching"}`` while it works, ``{"result": {...}}`` at the end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap  # pyright: ignore[reportMissingImports] - optional
from numpy.typing import NDArray

if __package__:
    from . import mirrors, parent, repeats
    from .colmap_evidence import (
        FEWEST_MATCHES,
        Evidence,
        contradictions,
        drop_repeats,
        read_evidence,
    )
else:  # a script, which finds what lies beside it
    import mirrors  # pyright: ignore[reportMissingImports]
    import parent  # pyright: ignore[reportMissingImports]
    import repeats  # pyright: ignore[reportMissingImports]
    from colmap_evidence import (  # pyright: ignore[reportMissingImports]
        FEWEST_MATCHES,
        Evidence,
        contradictions,
        drop_repeats,
        read_evidence,
    )

WORDS = 64  # visual words learnt from the set itself
LEARNT_FROM = 40_000  # descriptors
MOST_PLACED = 0.7  # share of the pictures that is a success
CONTESTED, MORE_TRIES = 0.08, 2  # share of contradictions from which cameras are found anew
FEW = 60  # pictures up to which that is a matter of seconds
DESCRIPTOR = 128  # numbers that describe a SIFT feature
FAINT = 0.0025  # contrast of a feature, of 1; SIFT's own is 0.0067
FEATURES_END, MATCHES_END = 0.3, 0.8  # shares of the whole, measured on sets of 16 to 60 photos


def main(job_path: str) -> int:
    parent.end_with_parent()
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    pycolmap.set_random_seed(job["seed"])
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    database = Path(job["folder"]) / "database.db"
    ids, counts, descriptors = extract(job, database)
    pairs = choose_pairs(job, ids, descriptors)
    match(job, database, pairs)
    evidence = read_evidence(database)
    agreed = repeats.agreed_turns(evidence.pairs, evidence.turns, evidence.weights)
    drop_repeats(database, evidence, agreed)
    say({"result": map_views(job, database, counts, evidence, agreed)})
    return 0


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def extract(
    job: dict[str, Any], path: Path
) -> tuple[dict[str, int], dict[str, int], dict[str, NDArray[np.float32]]]:
    """SIFT features of every picture into the database; their ids, counts and descriptors."""
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = job["threads"]
    options.use_gpu = False
    options.sift.max_num_features = job["max_features"]
    if job["is_thorough"]:  # fainter spots, too: on bare walls and tables there are no others
        options.sift.peak_threshold = FAINT
    images = Path(job["images"])
    ids: dict[str, int] = {}
    counts: dict[str, int] = {}
    total = sum(len(group["names"]) for group in job["groups"])
    for group in job["groups"]:
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_RADIAL"
        half = (group["width"] / 2, group["height"] / 2)
        if group["is_focal_known"]:
            reader.camera_params = f"{group['focal']},{half[0]},{half[1]},0"
        else:
            reader.default_focal_length_factor = group["focal"] / max(2 * half[0], 2 * half[1])
        if job["masks"]:
            reader.mask_path = job["masks"]
        names = group["names"]
        for start in range(0, len(names), job["threads"] * 2):
            some = names[start : start + job["threads"] * 2]
            pycolmap.extract_features(
                path,
                images,
                image_names=some,
                camera_mode=pycolmap.CameraMode.SINGLE,
                reader_options=reader,
                extraction_options=options,
                device=pycolmap.Device.cpu,
            )
            with pycolmap.Database.open(path) as database:
                for name in some:
                    image = database.read_image_with_name(name)
                    if image is None:  # the file could not be read
                        counts[name] = 0
                        continue
                    ids[name] = image.image_id
                    counts[name] = database.num_keypoints_for_image(image.image_id)
                    reader.existing_camera_id = image.camera_id
            say({"share": FEATURES_END * len(counts) / total, "stage": "Finding features"})
    descriptors: dict[str, NDArray[np.float32]] = {}
    if job["pairs"] == "retrieval":
        with pycolmap.Database.open(path) as database:
            for name, image_id in ids.items():
                found = database.read_descriptors(image_id)
                data = getattr(found, "data", found)
                descriptors[name] = np.asarray(data)[:1500].astype(np.float32)
    return ids, counts, descriptors


def choose_pairs(
    job: dict[str, Any], ids: dict[str, int], descriptors: dict[str, NDArray[np.float32]]
) -> list[tuple[str, str]]:
    """Which pictures to compare: all with all, neighbours in time, or those that look alike."""
    names = [name for group in job["groups"] for name in group["names"] if name in ids]
    names.sort(key=job["order"].index)
    count = len(names)
    chosen: set[tuple[int, int]] = set()
    if job["pairs"] == "all":
        chosen = {(a, b) for a in range(count) for b in range(a + 1, count)}
    for sequence in job["sequences"]:
        places = [names.index(name) for name in sequence if name in ids]
        for step in range(1, job["overlap"] + 1):
            chosen |= {_ordered(a, b) for a, b in zip(places, places[step:], strict=False)}
        # Powers of two join places that the camera came back to.
        for step in (2**power for power in range(3, 12)):
            chosen |= {_ordered(a, b) for a, b in zip(places, places[step:], strict=False)}
    if job["pairs"] == "retrieval":
        chosen |= alike([descriptors[name] for name in names], job["neighbours"], job["seed"])
    return [(names[a], names[b]) for a, b in sorted(chosen)]


def alike(
    descriptors: list[NDArray[np.float32]], neighbours: int, seed: int
) -> set[tuple[int, int]]:
    """Pairs of pictures that look alike, without a vocabulary file.

    The words are learnt from the set itself; a picture is the sum of its descriptors' residuals to
    their words (VLAD, Jegou et al. 2010), compared by cosine.
    """
    random = np.random.default_rng(seed)
    pool = np.concatenate([found for found in descriptors if len(found)])
    pool = pool[random.permutation(len(pool))[:LEARNT_FROM]]
    words = pool[: min(WORDS, len(pool))].copy()
    for _ in range(8):
        word = _nearest(pool, words)
        count = np.bincount(word, minlength=len(words))
        for number in np.flatnonzero(count):
            words[number] = pool[word == number].mean(axis=0)
    signatures = np.zeros((len(descriptors), words.size), np.float32)
    for index, found in enumerate(descriptors):
        if not len(found):
            continue
        word = _nearest(found, words)
        total = np.zeros_like(words)
        np.add.at(total, word, found - words[word])
        total = np.sign(total) * np.sqrt(np.abs(total))
        signatures[index] = (total / max(float(np.linalg.norm(total)), 1e-9)).ravel()
    similarity = signatures @ signatures.T
    np.fill_diagonal(similarity, -2.0)
    best = np.argsort(-similarity, axis=1)[:, :neighbours]
    return {_ordered(a, int(b)) for a in range(len(best)) for b in best[a] if a != int(b)}


def _nearest(points: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.int64]:
    return ((words**2).sum(axis=1) - 2 * points @ words.T).argmin(axis=1)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def match(job: dict[str, Any], path: Path, pairs: list[tuple[str, str]]) -> None:
    """Compare the pairs, a portion at a time so that progress can be told."""
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = job["threads"]
    matching.use_gpu = False
    matching.guided_matching = job["is_thorough"]
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job["seed"]
    if job["masks"]:
        # A turntable's still background matches at rest; the object's own motion counts.
        verification.filter_stationary_matches = True
    listed = Path(job["folder"]) / "pairs.txt"
    portion, start = 8, 0
    while start < len(pairs):
        some = pairs[start : start + portion]
        listed.write_text("".join(f"{a} {b}\n" for a, b in some), encoding="utf-8")
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = str(listed)
        began = time.perf_counter()
        pycolmap.match_image_pairs(
            path,
            matching_options=matching,
            pairing_options=pairing,
            verification_options=verification,
            device=pycolmap.Device.cpu,
        )
        start += len(some)
        took = time.perf_counter() - began
        portion = int(min(max(portion * 1.0 / max(took, 0.05), 4), 400))
        share = FEATURES_END + (MATCHES_END - FEATURES_END) * start / len(pairs)
        say({"share": share, "stage": f"Comparing pictures ({start} of {len(pairs)} pairs)"})


def map_views(
    job: dict[str, Any],
    path: Path,
    counts: dict[str, int],
    evidence: Evidence,
    agreed: NDArray[np.float64],
) -> dict[str, Any]:
    """Solve for all cameras; the models are written as COLMAP writes them."""
    output = Path(job["folder"]) / "models"
    output.mkdir()
    with pycolmap.Database.open(path) as database:
        found = [image.name for image in database.read_all_images()]
        verified = dict.fromkeys(found, 0)
        by_id = {image.image_id: image.name for image in database.read_all_images()}
        pair_ids, geometries = database.read_two_view_geometries()
        for pair_id, geometry in zip(pair_ids, geometries, strict=True):
            if len(geometry.inlier_matches) >= FEWEST_MATCHES:
                for image_id in pycolmap.pair_id_to_image_pair(pair_id):
                    verified[by_id[image_id]] += 1
    total = max(len(found), 1)
    done = 0

    def tell(added: int) -> None:
        nonlocal done
        done += added
        share = MATCHES_END + (1 - MATCHES_END) * min(done / total, 1.0)
        say({"share": share, "stage": f"Placing cameras ({min(done, total)} of {total})"})

    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = job["seed"]
    options.num_threads = job["threads"]
    options.extract_colors = True
    options.min_model_size = 3
    options.multiple_models = True
    options.max_num_models = 5
    options.ba_refine_focal_length = not job["keep_focal"]
    options.mapper.abs_pose_refine_focal_length = not job["keep_focal"]
    best: dict[int, Any] = {}
    doubt: dict[str, Any] = {}
    # A first try with strict beginnings, a second that takes what it can get; where things repeat,
    # others that begin elsewhere, of which the least contradicted counts.
    for attempt in range(2 + MORE_TRIES):
        done = 0
        options.random_seed = job["seed"] + attempt
        if attempt == 1 and _registered(best) < MOST_PLACED * total:
            options.mapper.init_min_tri_angle = 5.0
            options.mapper.init_min_num_inliers = 30
            options.mapper.abs_pose_min_num_inliers = 15
            options.mapper.abs_pose_min_inlier_ratio = 0.15
        place = output / f"try{attempt}"
        place.mkdir()
        models = pycolmap.incremental_mapping(
            path,
            Path(job["images"]),
            place,
            options,
            initial_image_pair_callback=lambda: tell(2),
            next_image_callback=lambda: tell(1),
        )
        found_doubt = contradictions(evidence, agreed, _largest(models)) if models else {}
        if _registered(models) > _registered(best) or (
            _registered(models) == _registered(best)
            and models
            and found_doubt["repeated"] < doubt["repeated"]
        ):
            best, doubt = models, found_doubt
        is_enough = _registered(best) >= MOST_PLACED * total
        is_contested = doubt.get("repeated", 0.0) >= CONTESTED and total <= FEW
        if (is_enough or attempt > 0) and not is_contested:
            break
    result: dict[str, Any] = {"features": counts, "partners": verified, "model": None}
    if best:
        largest = _largest(best)
        place = Path(job["folder"]) / "best"
        place.mkdir()
        shown = take_out_reflections(path, largest)
        largest.write_binary(place)
        result |= {
            **doubt,
            "mirrors": shown,
            "model": str(place),
            "error_px": largest.compute_mean_reprojection_error(),
            "others": sorted(
                {
                    image.name
                    for model in best.values()
                    if model is not largest
                    for image in model.images.values()
                    if image.has_pose
                }
            ),
        }
    return result


def take_out_reflections(path: Path, model: Any) -> list[dict[str, Any]]:
    """Find mirrors and delete the points seen in them.

    Returns:
        Of each mirror its ``normal`` and ``outline`` in the model's world, and how many looks at
        reflections each picture holds (``looks``, by name).
    """
    numbers = {point: number for number, point in enumerate(model.points3D)}
    images = [image for image in model.images.values() if image.has_pose]
    looks: list[tuple[int, int]] = []
    total = np.zeros((len(numbers), DESCRIPTOR), np.float32)
    with pycolmap.Database.open(path) as database:
        for camera, image in enumerate(images):
            found = database.read_descriptors(image.image_id)
            descriptors = np.asarray(getattr(found, "data", found))
            for place, spot in enumerate(image.points2D):
                if spot.has_point3D():
                    number = numbers[spot.point3D_id]
                    total[number] += descriptors[place]
                    looks.append((number, camera))
    if not looks:
        return []
    points = np.array([point.xyz for point in model.points3D.values()], np.float64)
    eyes = np.array([image.projection_center() for image in images], np.float64)
    sight = mirrors.Sight(points, total, eyes, np.array(looks, np.int64))
    result, reflected = [], np.zeros(len(points), bool)
    for mirror in mirrors.find_mirrors(sight):
        seen = np.bincount(sight.looks[mirror.looks, 1], minlength=len(images)).tolist()
        result.append(
            {
                "normal": mirror.mirror.normal.tolist(),
                "outline": mirror.mirror.outline.tolist(),
                "looks": {image.name: n for image, n in zip(images, seen, strict=True)},
            }
        )
        reflected |= mirror.reflected
    for point in np.array(list(numbers), np.uint64)[reflected].tolist():
        model.delete_point3D(point)
    return result


def _largest(models: dict[int, Any]) -> Any:
    return max(models.values(), key=lambda model: model.num_reg_images())


def _registered(models: dict[int, Any]) -> int:
    return max((model.num_reg_images() for model in models.values()), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
