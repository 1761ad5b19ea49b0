"""Networks that draw a whole solid from one picture."""
