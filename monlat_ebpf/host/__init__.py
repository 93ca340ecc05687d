"""This machine: its capabilities, clocks, addresses and routes.

capabilities   which capabilities(7) the process holds, which it lacks to load a kernel program, dropping them
wall_clock     converts wall-clock stamps to the monotonic clock
addresses      whether an address belongs to this host, the route to an address, and the default routes
followed_file  when a changing file is read again, and reading it
wake_event     wakes a thread, also from a signal handler
heap           one heap of the C library for all threads
"""
