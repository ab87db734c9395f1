"""The benchmark: daemons as transparent route servers on loopback, one after the other, CPU seconds first."""
