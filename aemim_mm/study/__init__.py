"""Studies: a declared grid of trainings, one record for each, and paired statistics over them."""
