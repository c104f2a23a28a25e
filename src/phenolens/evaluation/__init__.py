"""Is the translation right?"""
