"""What ``plan`` is made of: one concept a module, each a pure function of the observation."""
