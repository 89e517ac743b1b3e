--- Step n of a chain.
return { fields = { { "chain", "int8" }, { "n", "int8" } }, shard = { "chain" } }
