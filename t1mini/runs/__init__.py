"""What any training program needs: settings, folders, states, checkpoints, several processes."""
