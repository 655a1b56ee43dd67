"""Publishes the successors of ended jobs: of Celery's canvas, and of pipelines. The core notes what is due."""
