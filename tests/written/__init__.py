"""Folders of instruments, written here for the tests of several files."""
