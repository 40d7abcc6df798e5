"""Where first weights come from: published sets, checkpoints of others, and the file that an import writes."""
