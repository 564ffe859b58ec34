"""HTTP of the control plane: route tables, authentication, problems."""
