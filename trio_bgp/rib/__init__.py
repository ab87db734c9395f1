"""The routes: interned paths, tables by family, the decision process. Owns copies of octets, never a buffer."""
