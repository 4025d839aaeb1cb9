"""The routes of users: chat completions as OpenAI has them, feedback, and what is known about a user."""
