"""What has been found about an agent: the result files in its folder, loaded and checked to belong to it."""
