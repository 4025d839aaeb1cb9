"""The token loop that every face shares. Import from the modules; `Engine` and `Stream` need torch."""
