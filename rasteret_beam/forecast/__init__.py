"""What a run will read and cost, told before it reads: from the index alone."""
