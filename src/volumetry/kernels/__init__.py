"""What compiled code is made of: how kernels are compiled and cached, vectors in them, and random
numbers that are a function of key and counter, on the CPU and on a GPU. Imports nothing of the
package but ``errors``."""
