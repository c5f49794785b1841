"""Whether alignment is right, and knows when to stop: each part is a module, and writes bench/results/alignment_PART.json."""
