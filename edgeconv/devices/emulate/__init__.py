"""Emulated arm64 boards: a Debian guest or an Android-like one under qemu-system-aarch64, for those without a board.

`tree` makes the file tree, `image` a disk of it, `boards` says which boards there are, `guest` boots one, `running`
remembers those that outlive a command, `transport` opens one as a target.
"""
