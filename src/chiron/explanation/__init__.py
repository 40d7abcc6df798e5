"""Where a network reacted, with evidence: explainers (one file each), scores of maps, what may be recommended."""
