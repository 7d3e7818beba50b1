"""What is shown of the money: lists, sums, files, paper."""
