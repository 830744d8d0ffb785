"""The served value of each galaxy is stored, and renewed in the transaction of whatever changes it.

A later property takes three steps: its entry in `properties.PROPERTIES`, a migration that inserts its row into
`archive.property` and calls `archive.add_served_property`, and its columns in `api.galaxy_property`.
"""

from pathlib import Path

from alembic import op

revision = "a0012"
down_revision = "a0011"
branch_labels = None
depends_on = None

PROPERTIES = (
    "log_mstar_fib", "log_mstar_tot", "log_ssfr_fib", "log_ssfr_tot", "log_sfr_tot", "oh12", "log_age", "mh",
)  # fmt: skip
WATCHED = {
    "prediction": ("after_prediction_change", ("INSERT", "UPDATE", "DELETE")),
    "galaxy_member": ("after_galaxy_member_change", ("INSERT", "UPDATE", "DELETE")),
    "observation": ("after_observation_change", ("UPDATE", "DELETE")),
    "data_release": ("after_data_release_change", ("UPDATE",)),
    "served_model": ("after_promotion", ("INSERT", "UPDATE", "DELETE")),
}
ROWS = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def upgrade() -> None:
    """Add tables, columns, functions and triggers, and fill them."""
    run = op.get_bind().exec_driver_sql
    for part in ("renewal", "triggers"):
        text = (Path(__file__).parent / "a0012" / f"{part}.sql").read_text(encoding="utf-8")
        for statement in text.strip().split("\n\n"):
            run(statement.replace("%", "%%"))
    for name in PROPERTIES:
        run(f"SELECT archive.add_served_property('{name}')")
    run("SELECT archive.renew_all_served()")
    for table, (function, operations) in WATCHED.items():
        for operation in operations:
            run(
                f"CREATE TRIGGER galbase_served_{operation.lower()} AFTER {operation} ON archive.{table} "
                f"REFERENCING {ROWS[operation]} FOR EACH STATEMENT EXECUTE FUNCTION archive.{function}()"
            )
        if table != "data_release":
            run(
                f"CREATE TRIGGER galbase_served_truncate AFTER TRUNCATE ON archive.{table} FOR EACH STATEMENT "
                "EXECUTE FUNCTION archive.after_served_truncate()"
            )
    for table in ("prediction", "galaxy", "galaxy_member"):
        run(
            f"CREATE TRIGGER galbase_served_before BEFORE INSERT OR UPDATE OR DELETE ON archive.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION archive.before_served_change()"
        )
    run(
        "CREATE TRIGGER galbase_served_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON archive.served_model "
        "FOR EACH STATEMENT EXECUTE FUNCTION archive.before_promotion()"
    )
    run(
        "CREATE TRIGGER galbase_served_update AFTER UPDATE OF trained_on ON archive.model FOR EACH ROW "
        "WHEN (OLD.trained_on IS DISTINCT FROM NEW.trained_on) EXECUTE FUNCTION archive.after_model_change()"
    )
    run("SELECT archive.watch_predictions(m.model_id) FROM archive.model m")
