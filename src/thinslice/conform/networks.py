"""Networks with equal weights beside independent ones: ResNets, VGG-16, SphereFace, Torch7's LSTM."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from thinslice.conform.comparison import Checkout, Comparison, Given, Package, Pair, load_file, load_package
from thinslice.layers.resnet import ResNet
from thinslice.systems.audiovisual_attributes.vgg_face import MEAN_RGB, SCALE, VggFace
from thinslice.systems.bimodal.network import SequenceLSTM
from thinslice.systems.persemon.sphereface import SphereFace

TORCHVISION = Package("torchvision", "BSD-3-Clause", "torchvision, the one made for the PyTorch that is installed")
PYTORCHCV = Package("pytorchcv", "MIT", "--no-deps pytorchcv")
RESNET_3D = Checkout("kenshohara/3D-ResNets-PyTorch", "models/resnet.py", "MIT")
SPHEREFACE = Checkout("clcarwin/sphereface_pytorch", "net_sphere.py", "none named")
TORCH = Package("torch", "BSD-3-Clause", "'thinslice[train]'")


def vary(network: nn.Module) -> nn.Module:
    """Draw what a new network has alike in all channels, so that each number counts, and leave training.

    Weights of convolutions and linear layers stay as drawn; norms, slopes and biases are drawn here.
    """
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.1)
    return network.eval()


def pair(ours: Tensor, theirs: Tensor) -> Pair:
    """Return two tensors as arrays."""
    return ours.detach().numpy(), theirs.detach().numpy()


def _drawn(*layouts: str, num_dimensions: int = 2) -> Iterator[tuple[str, ResNet]]:
    for layout in layouts:
        torch.manual_seed(0)
        network = ResNet(layout, num_dimensions=num_dimensions)
        vary(network)
        yield layout, network


@torch.no_grad()
def resnet_torchvision(given: Given) -> Sequence[Pair]:
    """ResNet-18, 34 and 50 beside torchvision's: names of parameters, and the maps of two pictures."""
    models = load_package("torchvision.models")
    pairs = []
    for layout, ours in _drawn("resnet18", "resnet34", "resnet50"):
        theirs = getattr(models, layout)(weights=None)
        theirs.fc = nn.Identity()
        theirs.load_state_dict(ours.state_dict())
        pictures = torch.randn(2, 3, 112, 96)
        pairs.append(pair(ours(pictures), theirs.eval()(pictures)))
    return pairs


@torch.no_grad()
def resnet_pytorchcv(given: Given) -> Sequence[Pair]:
    """ResNet-18, 34 and 50 beside pytorchcv's, whose parameters have other names in the same order."""
    models = load_package("pytorchcv.models.resnet")
    pairs = []
    for layout, ours in _drawn("resnet18", "resnet34", "resnet50"):
        # pytorchcv's "b" strides in the bottleneck's 3 x 3 convolution, as torchvision and we do.
        theirs = getattr(models, "resnet50b" if layout == "resnet50" else layout)().features
        names = [name for name in theirs.state_dict() if not name.startswith("final_pool")]
        theirs.load_state_dict(dict(zip(names, ours.state_dict().values(), strict=True)))
        pictures = torch.randn(2, 3, 224, 224)
        pairs.append(pair(ours(pictures), theirs.eval()(pictures).flatten(1)))
    return pairs


@torch.no_grad()
def resnet_3d(given: Given) -> Sequence[Pair]:
    """ResNet-18 in three dimensions beside that of Hara et al.: names of parameters, and the maps of a clip."""
    models = load_file(RESNET_3D.path(given))
    ((_, ours),) = _drawn("resnet18", num_dimensions=3)
    theirs = models.resnet18(sample_size=64, sample_duration=16)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    clip = torch.randn(1, 3, 16, 64, 64)
    return [pair(ours(clip), theirs.eval()(clip))]


@torch.no_grad()
def vgg_face(given: Given) -> Sequence[Pair]:
    """VGG-Face up to fc7 beside torchvision's VGG-16, on a picture that both scale alike."""
    models = load_package("torchvision.models")
    torch.manual_seed(0)
    ours = VggFace(num_outputs=0)
    vary(ours)
    theirs = models.vgg16(weights=None)
    layers = [layer for layer in (*theirs.features, *theirs.classifier[:6]) if isinstance(layer, nn.Conv2d | nn.Linear)]
    for mine, other in zip(ours.layers.values(), layers, strict=True):
        other.load_state_dict(mine.state_dict())
    theirs.classifier = theirs.classifier[:6]
    pictures = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    scaled = ((pictures.float() - torch.tensor(MEAN_RGB)) / SCALE).permute(0, 3, 1, 2).contiguous()
    return [pair(ours.features(pictures), theirs.eval()(scaled))]


@torch.no_grad()
def sphereface(given: Given) -> Sequence[Pair]:
    """SphereFace-20 up to fc5 beside an independent one with the authors' names of layers."""
    models = load_file(SPHEREFACE.path(given))
    torch.manual_seed(0)
    ours = SphereFace()
    vary(ours)
    theirs = models.sphere20a(classnum=2, feature=True)
    state = ours.state_dict()
    theirs.load_state_dict({**state, "fc6.weight": theirs.fc6.weight})
    faces = torch.empty(3, 3, 112, 96).uniform_(-1, 1)
    return [pair(ours(faces), theirs.eval()(faces))]


@torch.no_grad()
def lstm(given: Given) -> Sequence[Pair]:
    """The LSTM with one bias, as the authors' Torch7 has it, beside PyTorch's own."""
    torch.manual_seed(0)
    size, hidden = 160, 128
    ours, theirs = SequenceLSTM(size, hidden), nn.LSTM(size, hidden, batch_first=True)
    ours.bias.normal_(0, 0.5)
    enter, forget, leave, candidate = ours.weight.chunk(4, 1)
    weight = torch.cat([enter, forget, candidate, leave], 1).T
    enter, forget, leave, candidate = ours.bias.chunk(4)
    theirs.load_state_dict(
        {
            "weight_ih_l0": weight[:, :size],
            "weight_hh_l0": weight[:, size:],
            "bias_ih_l0": torch.cat([enter, forget, candidate, leave]),
            "bias_hh_l0": torch.zeros(4 * hidden),
        }
    )
    steps = torch.randn(4, 6, size)
    return [pair(ours(steps), theirs(steps)[0])]


RESNETS = ("cr_net", "cross_modal")

NETWORKS = (
    Comparison(
        name="resnet_torchvision",
        what="ResNet-18, 34, 50",
        systems=RESNETS,
        theirs=TORCHVISION,
        expected=0.0,
        most=1e-6,
        run=resnet_torchvision,
    ),
    Comparison(
        name="resnet_pytorchcv",
        what="ResNet-18, 34, 50",
        systems=RESNETS,
        theirs=PYTORCHCV,
        expected=2e-7,
        most=1e-6,
        run=resnet_pytorchcv,
    ),
    Comparison(
        name="resnet_3d",
        what="ResNet-18 over time too",
        systems=("cr_net",),
        theirs=RESNET_3D,
        expected=0.0,
        most=1e-6,
        run=resnet_3d,
    ),
    Comparison(
        name="vgg_face",
        what="VGG-16 to fc7",
        systems=("audiovisual_attributes",),
        theirs=TORCHVISION,
        expected=0.0,
        most=1e-6,
        run=vgg_face,
    ),
    Comparison(
        name="sphereface",
        what="SphereFace-20 to fc5",
        systems=("persemon",),
        theirs=SPHEREFACE,
        expected=0.0,
        most=1e-6,
        run=sphereface,
    ),
    Comparison(
        name="lstm",
        what="LSTM of the authors' Torch7",
        systems=("bimodal",),
        theirs=TORCH,
        expected=2e-7,
        most=1e-6,
        run=lstm,
    ),
)
