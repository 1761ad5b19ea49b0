"""Networks: one file each; torch lives only here and in field/."""
