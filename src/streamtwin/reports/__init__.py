"""Records and profiles in; tables, figures, pages and traces out."""
