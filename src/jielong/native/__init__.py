"""Kernels in C++, for generating and for training, and how Python finds them."""
