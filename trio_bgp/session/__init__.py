"""One BGP session as a sans-IO machine: events in, outputs out, time as an argument."""
