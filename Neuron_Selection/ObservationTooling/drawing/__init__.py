"""Pictures of pairs: worlds, views, images, entries that differ, and the scores of both sides."""
