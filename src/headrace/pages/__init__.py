"""Pages of HTML and their charts, from headings, sentences, tables and lines: no storage, no templates."""
