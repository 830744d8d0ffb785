"""The physical properties that labels and predictions speak of; copied to `archive.property` at every upgrade."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Property:
    """A physical property.

    Parameters
    ----------
    name : str
        Name in tables, views and commands.
    unit : str or None
        VOUnit, None for a pure number; ``'dex'`` is the decimal logarithm of the quantity in the unit that
        `description` names.
    ucd : str
        UCD1+.
    aperture : str
        fibre (3 arcsec), total, or model.
    description : str
    """

    name: str
    unit: str | None
    ucd: str
    aperture: str
    description: str


PROPERTIES = (
    Property("log_mstar_fib", "'dex'", "phys.mass", "fibre", "log10 of stellar mass within 3 arcsec [solMass]"),
    Property("log_mstar_tot", "'dex'", "phys.mass", "total", "log10 of total stellar mass [solMass]"),
    Property(
        "log_ssfr_fib",
        "'dex'",
        "phys.SFR",
        "fibre",
        "log10 of specific star formation rate within 3 arcsec [1/yr]",
    ),
    Property("log_ssfr_tot", "'dex'", "phys.SFR", "total", "log10 of total specific star formation rate [1/yr]"),
    Property("log_sfr_tot", "'dex'", "phys.SFR", "total", "log10 of total star formation rate [solMass/yr]"),
    Property("oh12", "'dex'", "phys.abund.Z", "fibre", "12 + log10(O/H), Tremonti et al. 2004 scale"),
    # Of the spectrum's light, 3830 to 8000 Angstrom observed: MMLforGalAM, section 2.1.1.
    Property("log_age", "'dex'", "time.age", "fibre", "log10 of luminosity-weighted stellar age within 3 arcsec [yr]"),
    Property("mh", "'dex'", "phys.abund.Z", "fibre", "Luminosity-weighted stellar metallicity [M/H] within 3 arcsec"),
    # Of an image's pixels, by GaLNet; the model says in which band.
    Property("mag_sersic", "mag", "phot.mag", "model", "Total AB magnitude of the Sersic profile, not dereddened"),
    Property(
        "re_sersic", "arcsec", "phys.angSize", "model", "Half-light radius of the Sersic profile along its major axis"
    ),
    Property("n_sersic", None, "stat.fit.param", "model", "Sersic index"),
    Property("q_sersic", None, "src.morph.param", "model", "Axis ratio b/a of the Sersic profile"),
)
