"""Running models over splits, metrics with intervals, comparisons and reports, for every task alike."""
