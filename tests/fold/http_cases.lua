--- Writes the scenarios of fold for HTTP: DIR/NNN/{1,2,…}.json are the books in order, as POST /add takes them;
--- DIR/NNN/case says what is expected, a line each: name, "sentences pairs phrases" ("-": not said), "dims=count ...",
--- beginning of the digest ("-": not said). Every order of the books is a case, and so are all sentences in one book.
---   luajit http_cases.lua DIR
package.path = "tests/fold/?.lua;" .. package.path
local texts = require("texts")

local dir = arg[1]
local count = 0

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function write_case(name, books, scenario)
  local _, _, counts, orthos, digest = unpack(scenario)
  local list = {}
  count = count + 1
  local folder = ("%s/%03d"):format(dir, count)
  assert(os.execute("mkdir -p " .. folder) == 0)
  for i, body in ipairs(books) do
    write(("%s/%d.json"):format(folder, i), ('{"title": "book %d", "body": "%s"}'):format(i, body))
  end
  for dims, n in pairs(orthos) do
    list[#list + 1] = dims .. "=" .. n
  end
  table.sort(list)
  write(folder .. "/case", table.concat({
    name, counts[1] and ("%d %d %d"):format(counts[1], counts[3], counts[4]) or "-", table.concat(list, " "),
    digest or "-", "",
  }, "\n"))
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
  local name, books = scenario[1], scenario[2]
  write_case(name, books, scenario)
  permutations({ unpack(books) }, #books, function(order)
    if table.concat(order) ~= table.concat(books) then
      write_case(name .. ", in another order", order, scenario)
    end
  end)
  write_case(name .. ", in one book", { table.concat(books, ". ") }, scenario)
end
