--- pairs and next visit every member, once, compiled or not.
local yaml = require("accrete.yaml")

local random = math.random

--- A table of some shape, with how many members it has and their sum, known apart.
local function some_table()
  local list, count, sum = {}, 0, 0
  local function add(key, value)
    if list[key] == nil then
      list[key], count, sum = value, count + 1, sum + value
    end
  end
  local shape = random(5)
  for i = 1, shape == 1 and 0 or random(0, 9) do
    if shape ~= 2 or random(3) > 1 then
      add(i, i)
    end
  end
  for _ = 1, shape > 3 and random(0, 7) or 0 do
    add("k" .. random(99), random(1000))
  end
  if shape == 5 then
    add({}, 9)
    add(true, 1)
    add(random(1000000) + 0.5, 7)
  end
  return list, count, sum
end

local function count_of(list)
  local count = 0
  for _ in pairs(list) do
    count = count + 1
  end
  return count
end

local function sum_of(list)
  local sum = 0
  for _, value in pairs(list) do
    sum = sum + value
  end
  return sum
end

local function raise_all(list)
  local sum = 0
  for key, value in pairs(list) do
    list[key] = value + 1
    sum = sum + value
  end
  return sum
end

local function clear(list)
  local count = 0
  for key in pairs(list) do
    list[key] = nil
    count = count + 1
  end
  return count
end

local function count_by_next(list)
  local count, key = 0, next(list)
  while key ~= nil do
    count = count + 1
    key = next(list, key)
  end
  return count
end

local function count_within(lists)
  local count = 0
  for _, list in pairs(lists) do
    for _ in pairs(list) do
      count = count + 1
    end
  end
  return count
end

describe("iteration", function()
  it("visits every member of tables of any shape", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    for round = 1, 10000 do
      local list, count, sum = some_table()
      local way, wanted = round % 6, count
      local got
      if way == 0 then
        got = count_of(list)
      elseif way == 1 then
        got, wanted = sum_of(list), sum
      elseif way == 2 then
        got, wanted = raise_all(list) + sum_of(list), sum + sum + count
      elseif way == 3 then
        got, wanted = clear(list) + count_of(list), count
      elseif way == 4 then
        got = count_by_next(list)
      else
        local other, more = some_table()
        got, wanted = count_within({ list, a = other, b = list }), count + more + count
      end
      if got ~= wanted then
        error(("round %d, way %d: wanted %s, got %s (SEED=%d)"):format(round, way, wanted, got, seed))
      end
      if random(500) == 1 then
        jit.flush()
      end
    end
  end)

  -- Within recursion that is left by a C function, a compiled `for ... in pairs` ends before its first member.
  it("visits every member within deep recursion", function()
    for _ = 1, 300 do
      local cycle = {}
      cycle[1] = cycle
      local _, err = pcall(yaml.format, cycle)
      assert.equal("limit", err.code)
    end
  end)

  it("refuses what is no table, at the line that asks", function()
    for name, ask in pairs { pairs = function() return (pairs(nil)) end, next = function() return (next(1)) end } do
      local ok, err = pcall(ask)
      assert.is_false(ok)
      assert.truthy(err:find("iterate_spec.lua:%d+: bad argument #1 to '" .. name .. "' %(table expected, got n"), err)
    end
  end)

  it("goes on after a key, and takes nil for the start", function()
    assert.same({ 1, "a" }, { next({ "a" }) })
    assert.same({ 1, "a" }, { next({ "a" }, nil) })
    assert.is_nil(next({ "a" }, 1))
    assert.is_nil(next({}))
    assert.is_false(pcall(next, {}, "nothing like it"))
  end)
end)
