"""Pure decisions, one family a file: each family is a dict from name to policy.

A policy sees a frozen view of what a real controller could know and returns a decision. It
reads no clock, draws no random number, sends and logs nothing. To add one, write a function
and name it in the dict of its file: scenarios, schema and tests pick it up from there.
"""
