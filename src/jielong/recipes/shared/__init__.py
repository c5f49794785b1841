"""Parts that several recipes share, and the form in which a recipe is written down; none of these is a recipe."""
