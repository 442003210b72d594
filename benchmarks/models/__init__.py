"""One file per family of networks; each offers RECIPES, a dict of name to Recipe."""
