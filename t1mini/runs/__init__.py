"""What any training program needs: settings, run folders, saved states, checkpoints, several processes, batches."""
