"""The spaces that weights live in: how they are drawn, kept, and moved. Imports ``kernels``."""
