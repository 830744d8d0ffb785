"""Networks: one file a family, Keras 3 only."""
