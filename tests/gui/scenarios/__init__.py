"""What is acted out in the window; ``driver.py`` lists it."""
