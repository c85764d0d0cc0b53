"""What the generated resources stand on: calls in either dialect, lists, writes and their look-up, files, waits."""
