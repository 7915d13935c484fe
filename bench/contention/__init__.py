"""What a loop does while other threads compute in Python: the rooms of gil.py."""
