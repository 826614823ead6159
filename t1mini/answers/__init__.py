"""Behind the verifier: reading a mathematical answer, and its value."""
