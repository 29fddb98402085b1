"""The roles: loops, configuration and files. The only place where the parts are wired together."""
