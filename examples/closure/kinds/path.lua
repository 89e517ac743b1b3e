--- A way from one node to another, of any length.
return { fields = { { "from", "int8" }, { "to", "int8" } }, shard = { "from" } }
