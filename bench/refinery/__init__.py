"""Whether the refinery finds the text of pages, keeps what is good and drops what is not; each part is a module."""
