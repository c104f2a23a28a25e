"""What the user says of each cell, a class and a note, and what follows from it for the rest."""
