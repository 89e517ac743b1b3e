--- CSV by itself: accrete lua examples/tools/csv.lua
--- Shows rows by name and as lists, NULL, exact round trips, a file that is larger than memory, and errors with their
--- line and column. The scanner is that of `accrete ingest`.
local csv = require("accrete.csv")

-- By the names of the header. Values are texts; an empty one without quotes is NULL, "" is the empty text.
local rows, names = csv.parse([[
name,born,note
"Lovelace, Ada",1815,"wrote ""Note G"""
Hopper,1906,
Noether,1882,""
]])
print(#rows, table.concat(names, " "), rows[1].name, rows[1].note)
print(tonumber(rows[2].born), rows[2].note, rows[3].note == "")

-- Written again, with the fields in the order you want; quotes only where they are needed.
for _, row in ipairs(rows) do
  row.age = 2000 - row.born
end
io.write(csv.format(rows, { fields = { "age", "name", "note" } }))

-- Lists, without a header and with semicolons. NULL is csv.null there, since lists have no holes.
local lists = csv.parse("1;;x\n2;b;y\n", { header = false, separator = ";" })
print(lists[1][2] == csv.null, lists[2][2])
io.write(csv.format(lists))

-- Row by row: neither side is ever whole in memory. A path may also be a .gz or .zst file, or "-".
local path, n = os.tmpname(), 0
csv.write(path, function()
  n = n + 1
  return n <= 100000 and { n = n, square = n * n } or nil
end, { fields = { "n", "square" } })
local sum, last = 0, 0
for row, line in csv.rows(path) do
  sum, last = sum + tonumber(row.square), line
end
os.remove(path)
print(("%d squares, the last in line %d"):format(sum, last))

-- Errors say where.
print(pcall(csv.parse, 'a,b\n1,2\n3,"four" or so\n'))
print(pcall(csv.parse, "a,b\n1,2,3\n"))
