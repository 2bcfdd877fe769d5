"""One file for each page: what it asks of the API, and what its template is handed."""
