"""What is stored: tables, migrations, configuration, the database server, and the command-line root."""

__version__ = "0.1.0"
