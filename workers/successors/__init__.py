"""Publishes the successors of ended jobs: what Celery's canvas says follows a job. The core notes what is due."""
