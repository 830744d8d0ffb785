"""Tables of schema `archive`, as SQLAlchemy models."""
