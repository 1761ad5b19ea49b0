"""The networks we offer: plain data. Nothing is fetched here, and nothing heavy is imported.

Sizes, hashes and revisions are of the publishers' own files and were gathered from what several public
projects that use them have written down; None means that no trustworthy value was found. Then the revision
that "main" means at the first download, and the hash of what arrives, are recorded beside the file and hold
from then on. Memory is an estimate from the number of weights and published measurements, at the size at
which we run the network: half precision on a graphics card, single precision on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["cut-out", "pick", "depth", "object", "views", "upscale", "inpaint"]
Source = Literal["safetensors", "pickle", "torchscript"]

TASKS: dict[Task, str] = {
    "cut-out": "Cut-Out",
    "pick": "Pick",
    "depth": "Depth",
    "object": "Object",
    "views": "Photos",
    "upscale": "Upscale",
    "inpaint": "Inpaint",
}
SEEDED = frozenset({"solids.triposg"})  # modules of networks that draw by seed
COMMERCIAL = frozenset({"MIT", "Apache-2.0", "BSD-3-Clause"})


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    Attributes:
        path: Where the publisher keeps it: a path in the hub repository.
        size: Bytes, or None where unknown.
        sha256: Of the publisher's file, or None where unknown.
        url: Full address when it is not kept on the hub; else empty.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    url: str = ""

    @property
    def name(self) -> str:
        """The file in the model's own folder: the publisher's path, always as safetensors."""
        stem, dot, _suffix = self.path.rpartition(".")
        return f"{stem if dot else self.path}.safetensors"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One network with its weights.

    Attributes:
        id: Never changes: settings and .blend files remember it.
        label: What the artist reads.
        tasks: What it can do, its main task first.
        good_at: One sentence without a full stop.
        repo: Repository on the hub, or the page that explains it when its files have a full address.
        files: At least one; the main one first.
        licence: SPDX identifier of the weights' licence.
        module: The network's module in ``inference.models``.
        gpu_mb: Graphics memory it needs, megabytes.
        cpu_mb: Main memory it needs on the processor, megabytes.
        revision: The hub's commit, or None: see the module's docstring.
        source: What the publisher's file is. Anything but safetensors is converted once.
        config: Keyword arguments of the module's ``load`` beyond path, device and dtype.
        is_heavy: Auto avoids it on the processor while a lighter one is installed.
        needs_gpu: Auto never takes it on the processor, where it would run for an hour or more.
        has_colours: What it draws is coloured all round.
        caveat: What an artist should know before using it, or empty.
    """

    id: str
    label: str
    tasks: tuple[Task, ...]
    good_at: str
    repo: str
    files: tuple[ModelFile, ...]
    licence: str
    module: str
    gpu_mb: int
    cpu_mb: int
    revision: str | None = None
    source: Source = "safetensors"
    config: tuple[tuple[str, object], ...] = ()
    is_heavy: bool = False
    needs_gpu: bool = False
    has_colours: bool = False
    caveat: str = ""

    @property
    def draws_by_seed(self) -> bool:
        """Whether another seed gives another result."""
        return self.module in SEEDED

    @property
    def task(self) -> Task:
        """The main task."""
        return self.tasks[0]

    @property
    def is_commercial(self) -> bool:
        """Whether the licence allows commercial use."""
        return self.licence in COMMERCIAL

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None when one is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def page(self) -> str:
        """Where the publisher explains the model."""
        return self.repo if "://" in self.repo else f"https://huggingface.co/{self.repo}"


_COPY = (
    "The publisher keeps the weights on a file-sharing site; this is another member's copy on the hub,"
    " checked by its hash"
)
_ACADEMIC = "Trained on academic data sets such as DIS5K; the weights' own licence is MIT"

# Within a task the best comes first: Auto takes the first that is installed and fits.
CATALOGUE: tuple[ModelEntry, ...] = (
    ModelEntry(
        id="moge-2-vitl",
        label="MoGe-2 Large",
        tasks=("depth",),
        good_at="Scenes in real metres with sharp edges, surface directions and the lens's field of"
        " view: the best there is for one picture",
        repo="Ruicheng/moge-2-vitl-normal",
        revision="b135031bae30b5ac2ae141a0e68717795ce38340",
        files=(
            ModelFile(
                "model.pt",
                1_323_815_904,
                "280741fd09bc3f403ccff9967784c2a391b52d2c0742ae3efdb21d9f90cc1a01",
            ),
        ),
        licence="MIT",
        module="depth.moge",
        source="pickle",
        gpu_mb=2600,
        cpu_mb=5000,
        is_heavy=True,
    ),
    ModelEntry(
        id="moge-2-vitb",
        label="MoGe-2 Base",
        tasks=("depth",),
        good_at="Scenes in real metres with surface directions, nearly as good as Large",
        repo="Ruicheng/moge-2-vitb-normal",
        revision="54ad3a693e61907ea4633d13dec6ee682fa09419",
        files=(
            ModelFile(
                "model.pt",
                419_110_160,
                "16b8110e86d5dc5a849db120ca96ef3a223fd30b0c9146d1d81db504073da5f6",
            ),
        ),
        licence="MIT",
        module="depth.moge",
        source="pickle",
        gpu_mb=1600,
        cpu_mb=3000,
    ),
    ModelEntry(
        id="moge-2-vits",
        label="MoGe-2 Small",
        tasks=("depth",),
        good_at="Scenes in real metres with surface directions on any computer",
        repo="Ruicheng/moge-2-vits-normal",
        revision="679230677b4d282c6f304189a93e98e14f085902",
        files=(
            ModelFile(
                "model.pt",
                140_550_416,
                "79a16621928c2bf0ed04659218c55c01075e950507f40bb3332fb4c873d3e1dc",
            ),
        ),
        licence="MIT",
        module="depth.moge",
        source="pickle",
        gpu_mb=1200,
        cpu_mb=2000,
    ),
    ModelEntry(
        id="da3-metric-large",
        label="Depth Anything 3 Metric Large",
        tasks=("depth",),
        good_at="Scenes in metres when the field of view is known; knows the sky",
        repo="depth-anything/DA3METRIC-LARGE",
        revision="4010e39f3634a45bc60553321fb49fb760bd594e",
        files=(
            ModelFile(
                "model.safetensors",
                1_336_734_448,
                "bbea5b0b3ee389849cffa7ddae89de064a90abd2b055fc5aa99aac68db324776",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything_3",
        gpu_mb=2200,
        cpu_mb=4000,
        config=(("is_metric", True),),
        is_heavy=True,
    ),
    ModelEntry(
        id="da3-mono-large",
        label="Depth Anything 3 Mono Large",
        tasks=("depth",),
        good_at="The order and shape of everything in a scene, without a true scale; knows the sky",
        repo="depth-anything/DA3MONO-LARGE",
        revision="f465978e618db8cc79c83b8bbf24964857db1875",
        files=(
            ModelFile(
                "model.safetensors",
                None,
                "7a799a7f95eb8d4c404c2ca8be3dc3276b350a417ddc4420db72ba850cc0e960",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything_3",
        gpu_mb=2200,
        cpu_mb=4000,
        is_heavy=True,
    ),
    ModelEntry(
        id="da3-base",
        label="Depth Anything 3 Base",
        tasks=("views", "depth"),
        good_at="Several pictures of one place or thing: depth and camera positions that agree",
        repo="depth-anything/DA3-BASE",
        revision="f4a6c9b3c95e41c82048423d3493a81ec3fa810e",
        files=(
            ModelFile(
                "model.safetensors",
                541_518_028,
                "e01067dc1659613083d9145a9a2547ccdbe6ccbbf83c4fe7b3e8a4e2bdae78b5",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything_3",
        gpu_mb=2400,
        cpu_mb=4000,
    ),
    ModelEntry(
        id="da3-small",
        label="Depth Anything 3 Small",
        tasks=("views", "depth"),
        good_at="Several pictures on any computer: depth and rough camera positions",
        repo="depth-anything/DA3-SMALL",
        revision="e08cab65ca0ec38e7826075418411ab90cab4da3",
        files=(
            ModelFile(
                "model.safetensors",
                137_248_940,
                "364492e38a3a06d221ac75da7f6621ada3f2361cd24fde11ba79091e9f40efcf",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything_3",
        gpu_mb=1400,
        cpu_mb=2400,
    ),
    ModelEntry(
        id="depth-anything-v2-small",
        label="Depth Anything V2 Small",
        tasks=("depth",),
        good_at="What is nearer than what, in photos, drawings and paintings, without a true scale",
        repo="depth-anything/Depth-Anything-V2-Small-hf",
        revision="5426e4f0f36572d16453bbda7a8389317b1bef99",
        files=(
            ModelFile(
                "model.safetensors",
                99_173_660,
                "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything",
        gpu_mb=900,
        cpu_mb=1600,
    ),
    ModelEntry(
        id="depth-anything-v2-indoor-small",
        label="Depth Anything V2 Indoor Small",
        tasks=("depth",),
        good_at="Rooms in rough metres, up to 20 m",
        repo="depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
        revision="8078d68a9c75a972131914f6afd0c1723be0da7f",
        files=(
            ModelFile(
                "model.safetensors",
                None,
                "e990eb82fbf11b05b7813261196a2b841bdcf5a05f64396724a8987fa90504a3",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything",
        config=(("max_depth", 20.0),),
        gpu_mb=900,
        cpu_mb=1600,
    ),
    ModelEntry(
        id="depth-anything-v2-outdoor-small",
        label="Depth Anything V2 Outdoor Small",
        tasks=("depth",),
        good_at="Streets in rough metres, up to 80 m",
        repo="depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
        revision="fd2c22027eaf20374204f14099b8341e1925ad39",
        files=(
            ModelFile(
                "model.safetensors",
                99_173_660,
                "ad065c77a7421ca55159a1f0db9433397a607690f2d76bb8a6fc54b1be7a3124",
            ),
        ),
        licence="Apache-2.0",
        module="depth.depth_anything",
        config=(("max_depth", 80.0),),
        gpu_mb=900,
        cpu_mb=1600,
    ),
    ModelEntry(
        id="depth-anything-v2-base",
        label="Depth Anything V2 Base",
        tasks=("depth",),
        good_at="As Small, finer",
        repo="depth-anything/Depth-Anything-V2-Base",
        revision="a4e71a6c2ce52fe50df0f212066b0d4a87be9b5e",
        files=(
            ModelFile(
                "depth_anything_v2_vitb.pth",
                389_961_218,
                "0d2b7002e62d39d655571c371333340bd88f67ab95050c03591555aa05645328",
            ),
        ),
        licence="CC-BY-NC-4.0",
        module="depth.depth_anything",
        source="pickle",
        gpu_mb=1300,
        cpu_mb=2500,
    ),
    ModelEntry(
        id="depth-anything-v2-large",
        label="Depth Anything V2 Large",
        tasks=("depth",),
        good_at="As Small, with the finest edges of the three",
        repo="depth-anything/Depth-Anything-V2-Large",
        revision="cbbb86a30ce19b5684b7a05155dc7e6cbc7685b9",
        files=(
            ModelFile(
                "depth_anything_v2_vitl.pth",
                1_341_395_338,
                "a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345",
            ),
        ),
        licence="CC-BY-NC-4.0",
        module="depth.depth_anything",
        source="pickle",
        gpu_mb=2300,
        cpu_mb=4500,
        is_heavy=True,
    ),
    ModelEntry(
        id="birefnet",
        label="BiRefNet",
        tasks=("cut-out",),
        good_at="Any subject with the finest edges: hair, wires, spokes",
        repo="ZhengPeng7/BiRefNet",
        revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
        files=(ModelFile("model.safetensors", 444_473_596),),
        licence="MIT",
        module="cut_out.birefnet",
        gpu_mb=3600,
        cpu_mb=8000,
        is_heavy=True,
        caveat=_ACADEMIC,
    ),
    ModelEntry(
        id="birefnet-lite",
        label="BiRefNet Lite",
        tasks=("cut-out",),
        good_at="Any subject with fine edges, on most computers",
        repo="ZhengPeng7/BiRefNet_lite",
        revision="aa62cd87eafb9cc43056d08ef3615a14628b831d",
        files=(
            ModelFile(
                "model.safetensors",
                177_634_392,
                "4417d89795250e698c3cb0ae8df15743810065f646f48a694fdfa7ca052d0815",
            ),
        ),
        licence="MIT",
        module="cut_out.birefnet",
        gpu_mb=2200,
        cpu_mb=5000,
        caveat=_ACADEMIC,
    ),
    ModelEntry(
        id="isnet",
        label="IS-Net",
        tasks=("cut-out",),
        good_at="A clear subject, quickly, on any computer",
        repo="NimaBoscarino/IS-Net_DIS-general-use",
        revision="608a843548f1f32716542d57dc59dcbb773294d4",
        files=(
            ModelFile(
                "isnet-general-use.pth",
                None,
                "9e1aafea58f0b55d0c35077e0ceade6ba1ba2bce372fd4f8f77215391f3fac13",
            ),
        ),
        licence="Apache-2.0",
        module="cut_out.isnet",
        source="pickle",
        gpu_mb=900,
        cpu_mb=1800,
        caveat=_COPY,
    ),
    ModelEntry(
        id="u2netp",
        label="U2-Net Small",
        tasks=("cut-out",),
        good_at="A clear subject in a tiny download",
        repo="tomjackson2023/rembg",
        files=(
            ModelFile(
                "u2netp.pth",
                4_683_258,
                "e7567cde013fb64813973ce6e1ecc25a80c05c3ca7adbc5a54f3c3d90991b854",
            ),
        ),
        licence="Apache-2.0",
        module="cut_out.isnet",
        source="pickle",
        gpu_mb=500,
        cpu_mb=1000,
        caveat=_COPY,
    ),
    ModelEntry(
        id="sam-2-1-small",
        label="SAM 2.1 Small",
        tasks=("pick",),
        good_at="What you click on or frame, a little surer than Tiny",
        repo="facebook/sam2.1-hiera-small",
        revision="ee5bba1d82bb8749febdf90f45e84b687142ba03",
        files=(
            ModelFile(
                "sam2.1_hiera_small.pt",
                184_416_285,
                "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            ),
        ),
        licence="Apache-2.0",
        module="cut_out.sam2",
        source="pickle",
        gpu_mb=900,
        cpu_mb=1300,
    ),
    ModelEntry(
        id="sam-2-1-tiny",
        label="SAM 2.1 Tiny",
        tasks=("pick",),
        good_at="What you click on or frame, on any computer: a few seconds for the first click, then"
        " at once",
        repo="facebook/sam2.1-hiera-tiny",
        revision="36f406a75c9be63c7f429da63246273f028c6fd4",
        files=(
            ModelFile(
                "sam2.1_hiera_tiny.pt",
                156_008_466,
                "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            ),
        ),
        licence="Apache-2.0",
        module="cut_out.sam2",
        source="pickle",
        gpu_mb=900,
        cpu_mb=1200,
    ),
    ModelEntry(
        id="triposg",
        label="TripoSG",
        tasks=("object",),
        good_at="Whole things in detail, unseen sides included; makes variants by seed; no colours"
        " of its own",
        repo="VAST-AI/TripoSG",
        revision="2c1c516d22d58db486a058d98d31bb6177344e06",
        files=(
            ModelFile(
                "transformer/diffusion_pytorch_model.safetensors",
                5_758_280_104,
                "9192b5923f7b605b394192809aa2ceb73bf0f4009674d8e3b999b45bb97d4bf2",
            ),
            ModelFile(
                "vae/diffusion_pytorch_model.safetensors",
                970_685_468,
                "a2e667c24927a5a35e5f19fcb4c75890e9399aa966b6db8131d7df733a750c8b",
            ),
            ModelFile(
                "image_encoder_dinov2/model.safetensors",
                1_217_522_888,
                "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
            ),
        ),
        licence="MIT",
        module="solids.triposg",
        gpu_mb=6500,
        cpu_mb=14000,
        is_heavy=True,
        needs_gpu=True,
    ),
    ModelEntry(
        id="triposr",
        label="TripoSR",
        tasks=("object",),
        good_at="Whole things from one picture with colours all round, in seconds on a graphics card",
        repo="stabilityai/TripoSR",
        revision="5b521936b01fbe1890f6f9baed0254ab6351c04a",
        files=(
            ModelFile(
                "model.ckpt",
                1_677_246_742,
                "429e2c6b22a0923967459de24d67f05962b235f79cde6b032aa7ed2ffcd970ee",
            ),
        ),
        licence="MIT",
        module="solids.triposr",
        source="pickle",
        gpu_mb=3000,
        cpu_mb=5000,
        is_heavy=True,
        has_colours=True,
    ),
    ModelEntry(
        id="realesrgan-x4plus",
        label="Real-ESRGAN x4plus",
        tasks=("upscale",),
        good_at="Textures four times finer, sharpest; slow without a graphics card",
        repo="https://github.com/xinntao/Real-ESRGAN",
        files=(
            ModelFile(
                "RealESRGAN_x4plus.pth",
                67_040_989,
                "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
                "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth",
            ),
        ),
        licence="BSD-3-Clause",
        module="pixels.realesrgan",
        source="pickle",
        revision="v0.1.0",
        gpu_mb=1500,
        cpu_mb=2500,
        is_heavy=True,
    ),
    ModelEntry(
        id="realesr-general-x4v3",
        label="Real-ESRGAN General",
        tasks=("upscale",),
        good_at="Textures four times finer, quickly, with less noise",
        repo="https://github.com/xinntao/Real-ESRGAN",
        files=(
            ModelFile(
                "realesr-general-x4v3.pth",
                4_885_111,
                "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
                "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.5.0/realesr-general-x4v3.pth",
            ),
        ),
        licence="BSD-3-Clause",
        module="pixels.realesrgan",
        source="pickle",
        revision="v0.2.5.0",
        gpu_mb=700,
        cpu_mb=1200,
    ),
    ModelEntry(
        id="big-lama",
        label="LaMa",
        tasks=("inpaint",),
        good_at="Painting what no picture shows so that it continues its surroundings",
        repo="https://github.com/Sanster/models/releases/tag/add_big_lama",
        files=(
            ModelFile(
                "big-lama.pt",
                205_669_692,
                "344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
                "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
            ),
        ),
        licence="Apache-2.0",
        module="pixels.lama",
        source="torchscript",
        revision="add_big_lama",
        gpu_mb=1200,
        cpu_mb=2000,
    ),
)

_BY_ID = {entry.id: entry for entry in CATALOGUE}


def model(model_id: str) -> ModelEntry:
    """The entry of that id.

    Raises:
        KeyError: When there is none.
    """
    return _BY_ID[model_id]


def models_for(task: Task) -> tuple[ModelEntry, ...]:
    """All models that can do a task, the best first."""
    return tuple(entry for entry in CATALOGUE if task in entry.tasks)
