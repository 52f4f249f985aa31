"""The peers run on the CPU, Keras on JAX and in float64; `make test-peers` installs them."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras

keras.config.set_floatx("float64")
