"""Small worlds that come with the code: facts, the pages that tell them, and the lessons drawn from them."""
