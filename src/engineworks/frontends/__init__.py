"""Others' models in: a reader for each format, and the importer that all of them share."""
