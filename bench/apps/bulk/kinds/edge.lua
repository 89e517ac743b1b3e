return { fields = { { "from", "int8" }, { "to", "int8" } }, shard = { "from" } }
