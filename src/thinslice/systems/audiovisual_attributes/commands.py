"""``thinslice import vgg-face``: the public weights of the face network."""

from pathlib import Path

import click

from thinslice.output import say


@click.command("vgg-face")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--colours", type=click.Choice(["rgb", "bgr"]), help="Of a file of arrays that does not tell.")
def vgg_face(file: Path, colours: str | None) -> None:
    """Check the public weights of VGG-Face and keep them for `thinslice train audiovisual_attributes`.

    FILE is VGG_FACE.t7 or VGG_FACE.caffemodel of the Visual Geometry Group (www.robots.ox.ac.uk/~vgg/software/vgg_face,
    for research only), or a PyTorch state dict or .npz with the layers' names, such as vgg_face_dag.pth, which needs
    --colours rgb. It is read as numbers, no code in it is run, and every layer's name and shape is checked. This makes
    no bundle: it is where a training starts.

    \b
    Example:
      thinslice import vgg-face VGG_FACE.t7
      thinslice train audiovisual_attributes --data fi.csv --store features/ --out runs/ava
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("import vgg-face", "train") from None
    from thinslice.systems.audiovisual_attributes.weights import import_vgg_face

    say(f"wrote {import_vgg_face(file, colours or '')}")
