"""What is measured on: objects rendered with their exact truth, and pictures made from nothing."""
