"""JPEG and PNG: display colours without position, bands or pixel scale."""

from __future__ import annotations

import warnings
from pathlib import Path

from galbase.ingest.readers.content import refuse_expansion
from galbase.ingest.readers.image_file import UNKNOWN, ImageFile
from galbase.schema.errors import GalbaseError

FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


def read_display_image(path: Path, format: str) -> ImageFile:
    """Check that a JPEG or PNG is whole, and read its size and number of planes.

    Parameters
    ----------
    path : Path
    format : {'jpeg', 'png'}

    Raises
    ------
    GalbaseError
        If the file is empty, not of this format, truncated or damaged, or expands by more than `refuse_expansion`
        allows. The whole image is decoded, because a header alone cannot show that.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        if not path.stat().st_size:
            raise GalbaseError(f"{path.name} is empty. Fetch the file again.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=(format.upper(),)) as opened:
                (width, height), n_plane = opened.size, len(opened.getbands())
                what = f"its {width} x {height} pixels"
                refuse_expansion(path.name, width * height * max(3, n_plane), path.stat().st_size, what)
                opened.load()
    except UnidentifiedImageError as error:
        raise GalbaseError(f"{path.name} is no {format.upper()} image; fetch the file again.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        raise GalbaseError(f"{path.name} is damaged: {error}. Fetch the file again.") from error
    bands = ("grey",) if n_plane < 3 else ("R", "G", "B")
    return ImageFile(UNKNOWN, UNKNOWN, bands, None, width, height, is_display=True)
