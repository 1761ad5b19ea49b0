"""The network's training: batches, losses, the loop, and the file that ships."""
