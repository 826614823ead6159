"""Around the method: all in one command, studies, figures, timing, memory, a reader's own functions."""
