"""Where data sets come from: one file each, whose `make()` returns arrays named part/inputs and part/labels."""
