"""What generated methods call: runs operations, reads lists, completes writes, finds lost creates, moves files."""
