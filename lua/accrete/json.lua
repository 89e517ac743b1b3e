--- JSON, exact: integers beyond 2^53 are int64 cdata, keys come out sorted, numbers as short as they may be.
--- Reading is strict: a repeated key, bytes that are not UTF-8 and integers beyond 64 bits are errors.
local C = require("accrete.json.c")

local M = {}

--- Stands for null in what is read and written, since a table cannot hold nil.
M.null = C.null

--- Marks a table as a list, so that it is written as [] even when empty. What was read from [] is marked.
M.array = C.array
M.is_array = C.is_array

--- decode(text) -> value. Raises an accrete.Error with line and column.
M.decode = C.decode

--- encode(value [, { indent = 2 }]) -> text. Tables with keys 1..n are lists, an empty table is {}.
function M.encode(value, options)
  return C.encode(value, options and options.indent)
end

return M
