"""Around the method: everything in one command, studies and figures, timing, memory, a reader's own functions."""
