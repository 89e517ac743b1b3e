--- Graphs and their closures, computed here alone: a set of reached nodes per node, nothing of accrete.
---   luajit tests/order/graph.lua edges SHAPE SIZE SEED      edges as NDJSON, some twice, shuffled
---   luajit tests/order/graph.lua closure SHAPE SIZE SEED    what accrete dump must write, unsorted
local what, shape, size, seed = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])

-- A generator of our own: math.random differs between builds.
local state = seed * 2654435761 % 2147483647 + 1
local function random(n)
  state = state * 48271 % 2147483647
  return state % n + 1
end

local shapes = {}

function shapes.random(n, edge)
  for _ = 1, 2 * n do
    edge(random(n), random(n))
  end
end

function shapes.dense(n, edge)
  for _ = 1, n * n / 3 do
    edge(random(n), random(n))
  end
end

function shapes.chain(n, edge)
  for i = 1, n - 1 do
    edge(i, i + 1)
  end
end

function shapes.grid(n, edge)
  for x = 0, n - 1 do
    for y = 0, n - 1 do
      if x + 1 < n then edge(x * n + y, (x + 1) * n + y) end
      if y + 1 < n then edge(x * n + y, x * n + y + 1) end
    end
  end
end

function shapes.loops(n, edge)
  for i = 1, n do
    edge(i, i)
    if i % 3 == 0 then edge(i, i - 1) end
  end
end

function shapes.cycle(n, edge)
  for i = 1, n do
    edge(i, i % n + 1)
  end
end

--- Nodes far apart: negative, and as large as int8 allows.
function shapes.wide(n, edge)
  for i = 1, n do
    edge(("-%d000000000000000"):format(i), ("9223372036854775%03d"):format(random(n)))
    edge(("9223372036854775%03d"):format(random(n)), ("-%d000000000000000"):format(random(n)))
  end
end

local list, out, seen = {}, {}, {}
shapes[shape](size, function(a, b)
  a, b = tostring(a), tostring(b)
  local key = a .. " " .. b
  if not seen[key] then
    seen[key] = true
    out[a] = out[a] or {}
    table.insert(out[a], b)
  end
  list[#list + 1] = { a, b }
end)

if what == "edges" then
  for _ = 1, #list / 10 do
    list[#list + 1] = list[random(#list)]
  end
  for i = #list, 2, -1 do
    local j = random(i)
    list[i], list[j] = list[j], list[i]
  end
  for _, e in ipairs(list) do
    print(('{"from":%s,"to":%s}'):format(e[1], e[2]))
  end
  return
end

for from, tos in pairs(out) do
  local reached, todo = {}, {}
  for _, to in ipairs(tos) do
    print(('{"kind":"edge","from":%s,"to":%s}'):format(from, to))
    todo[#todo + 1] = to
  end
  while #todo > 0 do
    local node = table.remove(todo)
    if not reached[node] then
      reached[node] = true
      print(('{"kind":"path","from":%s,"to":%s}'):format(from, node))
      for _, to in ipairs(out[node] or {}) do
        todo[#todo + 1] = to
      end
    end
  end
end
