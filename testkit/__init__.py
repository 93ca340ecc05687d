"""What tests and benches share: a reflector that knows the truth, and servers that imitate what cannot be had here.

Never part of the wheel.
"""
