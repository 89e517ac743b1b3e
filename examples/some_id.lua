--- Prints the beginning of an id of a kind: accrete lua some_id.lua KIND.
--- The fact found last, as far as that can be said.
local db = require("accrete.db")

local kind = arg[1] or error("some_id.lua: wanted the name of a kind")
assert(kind:find("^[a-z][a-z0-9_]*$"), "some_id.lua: wanted the name of a kind")
local id = db.connect():value(("SELECT _id::text FROM fact_%s ORDER BY _batch DESC, _id LIMIT 1"):format(kind))
print(id and id:gsub("-", ""):sub(1, 12) or "ID")
