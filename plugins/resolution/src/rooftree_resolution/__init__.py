"""What is wrong with this installation, and what could be done about it: the kernel's problems, as clients see them."""
