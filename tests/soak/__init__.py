"""A run over very many batches, of which some go wrong in each way: it ends, stays small, and accounts for every id."""
