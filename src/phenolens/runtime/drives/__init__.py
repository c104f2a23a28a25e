"""What drives do otherwise than a disk of this computer."""
