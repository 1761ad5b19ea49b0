"""Make tests/data/golden/tripos*.npz and the key lists of TripoSR and TripoSG from the authors' code.

python tests/parity/make_object_golden.py <TripoSR checkout> <TripoSG checkout>

Neither project is in a package index, so their outputs for small networks with weights made from their
names (tests/seeded_weights.py) are stored. TripoSR was trained with transformers 4.35, which resamples
position embeddings otherwise than later versions: install that one for it. TripoSG needs diffusers (0.32)
and transformers from 4.45 to 4.48; so run this twice, giving "-" for the other checkout.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from seeded_weights import seeded_noise, seeded_weights  # noqa: E402

GOLDEN, KEYS = ROOT / "data" / "golden", ROOT / "data" / "keys"


def fill(net: torch.nn.Module) -> dict[str, list[int]]:
    """Give a reference its weights, and return its keys and shapes."""
    shapes = {name: list(value.shape) for name, value in net.state_dict().items()}
    net.load_state_dict(seeded_weights(shapes))
    net.eval()
    return shapes


def write_keys(name: str, source: str, shapes: dict[str, list[int]]) -> None:
    lines = ",\n".join(
        f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in shapes.items()
    )
    KEYS.joinpath(f"{name}.json").write_text(
        f'{{"source": {json.dumps(source)},\n"shapes": {{\n{lines}\n}}}}\n'
    )


def triposr(checkout: str) -> None:
    sys.path.insert(0, checkout)
    for name in ("rembg", "imageio", "torchmcubes"):  # imported, not needed
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchmcubes"].marching_cubes = None
    import huggingface_hub
    from transformers import ViTConfig, ViTModel

    huggingface_hub.hf_hub_download = lambda **_: ""
    from omegaconf import OmegaConf
    from tsr.system import TSR

    def make(vit: dict, plane: int, width: int, depth: int, heads: int, head: tuple[int, int, int]):
        ViTModel.config_class.from_pretrained = classmethod(
            lambda *_, **__: ViTConfig(layer_norm_eps=1e-12, patch_size=16, **vit)
        )
        features, hidden, layers = head
        part = "tsr.models."
        return TSR(
            OmegaConf.create(
                {
                    "cond_image_size": 512,
                    "image_tokenizer_cls": part + "tokenizers.image.DINOSingleImageTokenizer",
                    "image_tokenizer": {},
                    "tokenizer_cls": part + "tokenizers.triplane.Triplane1DTokenizer",
                    "tokenizer": {"plane_size": plane, "num_channels": width},
                    "backbone_cls": part + "transformer.transformer_1d.Transformer1D",
                    "backbone": {
                        "in_channels": width,
                        "num_attention_heads": heads,
                        "attention_head_dim": width // heads,
                        "num_layers": depth,
                        "cross_attention_dim": vit["hidden_size"],
                    },
                    "post_processor_cls": part + "network_utils.TriplaneUpsampleNetwork",
                    "post_processor": {"in_channels": width, "out_channels": features},
                    "decoder_cls": part + "network_utils.NeRFMLP",
                    "decoder": {
                        "in_channels": 3 * features,
                        "n_neurons": hidden,
                        "n_hidden_layers": layers,
                        "activation": "silu",
                    },
                    "renderer_cls": part + "nerf_renderer.TriplaneNeRFRenderer",
                    "renderer": {"radius": 0.87, "density_activation": "exp", "density_bias": -1.0},
                }
            )
        )

    small = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 192,
        "image_size": 64,
    }
    net = make(small, 8, 64, 2, 4, (8, 16, 3))
    write_keys("triposr_small", "TripoSR's class at the size of triposr.npz", fill(net))
    stored = {}
    for side in (96, 160):
        picture = np.random.default_rng(side).random((side, side, 3), np.float32)
        net.cfg.cond_image_size = side
        with torch.inference_mode():
            planes = net([picture], device="cpu")[0]
            points = seeded_noise(side, 200, 3) * 0.4
            said = net.renderer.query_triplane(net.decoder, points, planes)
        stored[f"planes_{side}"] = planes.numpy()
        stored[f"density_{side}"] = said["density_act"][:, 0].numpy()
        stored[f"colour_{side}"] = said["color"].numpy()
    np.savez_compressed(GOLDEN / "triposr.npz", **stored)


def triposg(checkout: str) -> None:
    sys.path.insert(0, checkout)
    sys.modules["torch_cluster"] = types.ModuleType("torch_cluster")
    from transformers import Dinov2Config, Dinov2Model
    from triposg.models.autoencoders.autoencoder_kl_triposg import TripoSGVAEModel
    from triposg.models.transformers.triposg_transformer import TripoSGDiTModel
    from triposg.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

    source = "state_dict of the authors' class with the published configuration"
    with torch.device("meta"):
        full = {
            "transformer": TripoSGDiTModel(),
            "vae": TripoSGVAEModel(),
            "image_encoder_dinov2": Dinov2Model(
                Dinov2Config(
                    hidden_size=1024,
                    num_hidden_layers=24,
                    num_attention_heads=16,
                    image_size=518,
                    patch_size=14,
                )
            ),
        }
    for name, net in full.items():
        shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
        write_keys(f"triposg_{name}", f"{name}: {source}", shapes)

    small = {"num_attention_heads": 4, "width": 64, "in_channels": 16, "num_layers": 5}
    denoiser = TripoSGDiTModel(cross_attention_dim=48, **small)
    write_keys("triposg_small_transformer", "TripoSGDiTModel, small", fill(denoiser))
    vae = TripoSGVAEModel(
        num_attention_heads=4,
        width_encoder=32,
        width_decoder=64,
        num_layers_encoder=1,
        num_layers_decoder=2,
        latent_channels=16,
    )
    write_keys("triposg_small_vae", "TripoSGVAEModel, small", fill(vae))
    encoder = Dinov2Model(
        Dinov2Config(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=518,
            patch_size=14,
        )
    )
    write_keys("triposg_small_image_encoder_dinov2", "Dinov2Model, small", fill(encoder))

    stored = {}
    with torch.inference_mode():
        state, context = seeded_noise(1, 1, 24, 16), seeded_noise(2, 1, 17, 48)
        both = torch.cat([torch.zeros_like(context), context])
        for level in (1.0, 0.37):
            time = torch.full((2,), 1000 * level)
            said = denoiser(torch.cat([state] * 2), time, both, return_dict=False)[0]
            stored[f"velocity_{level}"] = said.numpy()
        for shift in (1.0, 3.0):
            scheduler = RectifiedFlowScheduler(shift=shift)
            scheduler.set_timesteps(6)
            stored[f"levels_{shift}"] = scheduler.sigmas.numpy()
        scheduler = RectifiedFlowScheduler(shift=1.0)
        scheduler.set_timesteps(6)
        drawn = state
        for time in scheduler.timesteps:
            said = denoiser(torch.cat([drawn] * 2), time.expand(2), both, return_dict=False)[0]
            free, bound = said.chunk(2)
            guided = free + 7.0 * (bound - free)
            drawn = scheduler.step(guided, time, drawn, return_dict=False)[0]
        stored["drawn"] = drawn.numpy()
        points = seeded_noise(3, 1, 300, 3) * 0.5
        stored["solid"] = vae.decode(state, sampled_points=points).sample[0, :, 0].numpy()
        stored["tokens"] = encoder(seeded_noise(4, 1, 3, 224, 224)).last_hidden_state.numpy()
    np.savez_compressed(GOLDEN / "triposg.npz", **stored)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for make_golden, checkout in zip((triposr, triposg), sys.argv[1:3], strict=True):
        if checkout != "-":
            make_golden(checkout)
