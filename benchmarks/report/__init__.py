"""What the rows say: claims against what is required, tables, a picture."""
