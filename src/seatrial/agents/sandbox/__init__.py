"""Parts that sandboxes are made of: system call filter, control groups, joining a sandbox that runs."""
