"""Pages: their blocks, numbers and pictures, and the HTML of both reports."""
