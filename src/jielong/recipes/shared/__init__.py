"""What several recipes are made of, and the form in which a recipe is written down; none of these is a recipe."""
