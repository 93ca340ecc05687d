"""What tests and benches share: a reflector that records its own times, servers that imitate others, and waiting.

Never part of the wheel.
"""
