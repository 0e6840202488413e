"""From a file of questions and answers to clean, leak-free conversations with an account of every row."""
