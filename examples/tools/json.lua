--- JSON by itself: accrete lua examples/tools/json.lua
--- Shows exact integers, null, empty lists, sorted keys, errors with line and column, and a file of JSON lines.
local json = require("accrete.json")

-- Integers beyond 2^53 are int64 cdata, not rounded; what cannot be exact is an error.
local order = json.decode('{ "id": 9007199254740993, "price": 0.1, "lines": [], "note": null, "address": {} }')
print(order.id, order.price, order.note == json.null)
print(pcall(json.decode, "[123456789012345678901234567890]"))

-- The same value is always the same text: keys are sorted, numbers as short as they may be. [] and {} stay apart.
print(json.encode(order))
print(json.encode({ list = json.array {}, object = {}, tenth = 0.1, huge = 1e300 }, { indent = 2 }))

-- Errors say where.
print(pcall(json.decode, '{\n  "a": 1,\n  "a": 2\n}'))
print(pcall(json.encode, { count = 0 / 0 }))

-- JSON lines: a value a line.
local path = os.tmpname()
local file = assert(io.open(path, "w"))
for i = 1, 3 do
  file:write(json.encode { n = i, square = i * i }, "\n")
end
file:close()
local sum = 0
for line in io.lines(path) do
  sum = sum + json.decode(line).square
end
os.remove(path)
print(sum)
