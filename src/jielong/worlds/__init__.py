"""Small worlds that come with the code: facts, pages that state them, and lessons made from them."""
