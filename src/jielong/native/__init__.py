"""What is written in C++ because it pays, for generating and for training, and how Python finds it."""
