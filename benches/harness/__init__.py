"""What all benches share. Needs nothing but Python's standard library."""
