"""This machine: its capabilities, clocks, addresses and routes.

capabilities  which capabilities(7) the process holds, and dropping them
rights        which of them loading a kernel program takes
wall_clock    wall-clock stamps on the monotonic clock
addresses     whether an address is this host's own
routes        the route to an address
wake_event    wakes a thread, from a signal handler too
"""
