"""The chat page at `/`: static files without a build step, and the login that puts a key into a cookie."""
