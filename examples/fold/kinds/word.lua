--- The vocabulary. Nothing reacts to it.
return { fields = { { "spelling", "text" } } }
