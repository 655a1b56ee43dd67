"""Who may call what: API keys, roles, sessions of browsers, and pages of other sites."""
