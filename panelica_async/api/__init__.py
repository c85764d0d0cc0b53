"""What the generated methods call: operations in either dialect, lists, writes and lost creates, files, waits."""
