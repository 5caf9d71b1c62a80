"""What a process shows of itself over HTTP."""
