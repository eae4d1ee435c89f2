"""``thinslice import sphereface``: the face network's weights that PersEmoN starts from."""

from pathlib import Path

import click


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def sphereface(file: Path) -> None:
    """Check the public weights of SphereFace-20 and keep them for `thinslice train persemon`.

    FILE is the authors' sphereface_model.caffemodel (github.com/wy1iu/sphereface), or a PyTorch state dict with the
    same layer names, such as sphere20a_20171020.pth. It is read as numbers, no code in it is run, and every layer's
    name and shape is checked. This makes no bundle: it is where a training starts.

    \b
    Example:
      thinslice import sphereface sphereface_model.caffemodel
      thinslice train persemon --data fi.csv --extra emotion=emotion.csv --store features/ --out runs/persemon
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("import sphereface", "train") from None
    from thinslice.systems.persemon.recipe import import_sphereface

    click.echo(f"wrote {import_sphereface(file)}", err=True)
