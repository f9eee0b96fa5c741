"""What is asked of trained models beside the sweep, a package a study."""
