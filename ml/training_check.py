"""What a training asks for is looked at before anything is read, or a run is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galbase.ml.image_ablation import check_resolution
from galbase.ml.model_file import SUFFIX
from galbase.ml.model_store import check_name
from galbase.ml.networks.build import backbone_of, check_family_options, improved_crop_px, learns_from, least_px, reads
from galbase.ml.request import TrainingRequest
from galbase.ml.training_set import TrainingSet
from galbase.schema.errors import GalbaseError, UsageError

if TYPE_CHECKING:
    import psycopg


def check_request(connection: psycopg.Connection[Any], request: TrainingRequest, training_set: TrainingSet) -> None:
    """Refuse a name that cannot be used, and what the training set or the family cannot give.

    Raises
    ------
    GalbaseError
        Of the name, the family, the preset, the backbone, the bands or the resolution.
    """
    check_name(connection, request.name)
    check_inputs(request.family, training_set)
    check_family_options(request.family, request.preset, request.options)
    if request.weights_path is not None and not request.weights_path.endswith(SUFFIX):
        backbone_of(request.family, request.preset, request.options)
    if not (request.bands or request.resolution_px):
        return
    if "image" not in reads(request.family):
        raise UsageError(f"family {request.family} reads no image; --bands and --resolution are of images.")
    if request.resolution_px:
        crop = improved_crop_px(request.family, request.preset) if request.mode == "improved" else 0
        stamp_px = training_set.preprocess.stamp_px
        network_px = least_px(request.family, request.preset, request.options)
        check_resolution(request.resolution_px, min(crop or stamp_px, stamp_px), network_px)
    row = connection.execute(
        "SELECT i.bands, count(*) FROM archive.training_member t JOIN archive.image i USING (observation_id) "
        "WHERE t.training_set_id = %s AND NOT i.bands @> %s::text[] GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
        (training_set.training_set_id, list(request.bands)),
    ).fetchone()
    if row is not None:
        raise GalbaseError(
            f"{row[1]} images of training set {training_set.name!r} have bands {', '.join(row[0])}, not all of "
            f"{', '.join(request.bands)}; choose among those that all have."
        )


def check_inputs(family: str, training_set: TrainingSet) -> None:
    """Refuse a family that reads what the training set's members do not have, before anything is read.

    Raises
    ------
    GalbaseError
    """
    wanted = learns_from(family)
    unknown = sorted(wanted - {"image", "spectrum"})
    if unknown:
        raise GalbaseError(
            f"family {family} reads {' and '.join(unknown)}, which training sets do not hold; families of images, of "
            "spectra, and of both can be trained."
        )
    if "spectrum" in wanted and not training_set.selection.has_spectrum:
        raise GalbaseError(
            f"family {family} learns from spectra, and members of training set {training_set.name!r} of selection "
            f"{training_set.selection.name} have none: create one with `galbase training-set create NAME --selection "
            "mmlforgalam`."
        )
