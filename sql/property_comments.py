"""Comments on the columns of `api.galaxy_property` that belong to a property, from the registry of properties."""

from __future__ import annotations

from galbase.schema.properties import PROPERTIES, Property

# Part of the column's name, text, UCD beside the property's ({ucd}); those without a unit have none in brackets.
_LEVELS = {"q025": "2.5", "q05": "5", "q16": "16", "q50": "50", "q84": "84", "q95": "95", "q975": "97.5"}
_MEASURED = {
    "": ("{description}, predicted", "{ucd}"),
    "_err": ("One sigma of {name}: half its calibrated 68 % interval", "stat.error;{ucd}"),
    **{f"_{name}": (f"{level} % quantile of {{name}}, calibrated", "{ucd};stat.value")
       for name, level in _LEVELS.items()},
    "_ref": ("{description}, label", "{ucd}"),
    "_ref_err": ("One sigma of {name}_ref", "stat.error;{ucd}"),
}  # fmt: skip
_ABOUT = {
    "_flag": ("Flag of {name}, bits of registry 'prediction' in flag_definition", "meta.code.qual"),
    "_model": ("Model that predicted {name}", "meta.id"),
    "_source_id": ("Member whose image or spectrum {name} was read from", "meta.id"),
    "_ref_origin": ("Catalogue or method of {name}_ref", "meta.id"),
}


def property_comments() -> str:
    """COMMENT statements for all properties, in the form that `column_comments` reads."""
    return "".join(_comments(each) for each in PROPERTIES)


def _comments(each: Property) -> str:
    unit = f" [unit: {each.unit}]" if each.unit else ""
    lines = {part: f"{text}{unit} [ucd: {ucd}]" for part, (text, ucd) in _MEASURED.items()}
    lines |= {part: f"{text} [ucd: {ucd}]" for part, (text, ucd) in _ABOUT.items()}
    return "".join(
        "COMMENT ON COLUMN api.galaxy_property.{} IS '{}';\n".format(
            each.name + part,
            line.format(name=each.name, description=each.description, ucd=each.ucd).replace("'", "''"),
        )
        for part, line in lines.items()
    )
