"""Times pft beside its peers. See README.md in this folder."""
