"""What astronomers call: SQL functions and views of schema `api`, and the commands that run queries."""
