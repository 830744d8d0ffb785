"""Of several models that serve a property, each galaxy shows the value of the one that knew most of it.

Before, a property was served by the model of images alone where there was one, and by that of spectra otherwise.
"""

from pathlib import Path

from alembic import op

revision = "a0015"
down_revision = "a0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the choice among predictions, and make what is served anew."""
    run = op.get_bind().exec_driver_sql
    text = (Path(__file__).parent / "a0015" / "choice.sql").read_text(encoding="utf-8")
    for statement in text.strip().split("\n\n"):
        run(statement.replace("%", "%%"))
    run("SELECT archive.renew_all_served()")
