--- Writes the scenarios of fold as folders of books: DIR/NN/{1,2,…}.txt in the order given, DIR/NN/case with what is
--- expected: name, orthos per dims, beginning of the digest or "-". Every order of the books is a case of its own, and
--- so are all sentences in one book.
---   luajit fold_cases.lua DIR
package.path = "tests/fold/?.lua;" .. package.path
local texts = require("texts")

local dir = arg[1]
local count = 0

local function expected(orthos)
  local list = {}
  for dims, n in pairs(orthos) do
    list[#list + 1] = dims .. "=" .. n
  end
  table.sort(list)
  return #list > 0 and table.concat(list, " ") or "none"
end

local function write(name, books, orthos, digest)
  count = count + 1
  local folder = ("%s/%03d"):format(dir, count)
  assert(os.execute("mkdir -p " .. folder) == 0)
  for i, body in ipairs(books) do
    local file = assert(io.open(("%s/%d.txt"):format(folder, i), "w"))
    file:write(body)
    file:close()
  end
  local file = assert(io.open(folder .. "/case", "w"))
  file:write(name, "\n", expected(orthos), "\n", digest or "-", "\n")
  file:close()
end

local function permutations(list, n, visit)
  if n <= 1 then
    return visit(list)
  end
  for i = 1, n do
    list[i], list[n] = list[n], list[i]
    permutations(list, n - 1, visit)
    list[i], list[n] = list[n], list[i]
  end
end

for _, scenario in ipairs(texts.scenarios) do
  local name, books, _, orthos, digest = unpack(scenario)
  permutations({ unpack(books) }, #books, function(order)
    write(name, order, orthos, digest)
  end)
  write(name .. ", in one book", { table.concat(books, ". ") }, orthos, digest)
end
