"""How fast is one device: what a pass, an encoding and a decoding take, beside published figures."""
