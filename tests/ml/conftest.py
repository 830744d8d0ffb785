"""Quiet start-up of the Keras backend for all tests of this part."""

from galbase.ml.backend import load_keras

load_keras()
