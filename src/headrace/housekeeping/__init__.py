"""What is done with systems as a whole: list them, measure, prune, rename and delete what is stored of them."""
