"""Single steps and exported files beside other programs and libraries."""
