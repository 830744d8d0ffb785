"""What a sceptical astronomer asks of a simulated survey, answered from the files as they were written."""
