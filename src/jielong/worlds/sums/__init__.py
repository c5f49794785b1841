"""A world of questions about numbers: some need a calculator, and some only look as if they did."""
