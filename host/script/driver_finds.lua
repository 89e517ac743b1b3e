--- Finds: found.KIND(friends, fields…) writes a row of the kind's find buffer and the ids of its friends.
local driver = ...

local ffi = require("ffi")

local host, kinds, batch, slot, friend_ids = driver.host, driver.kinds, driver.batch, driver.slot, driver.friend_ids
local describe, store_code, compile = driver.describe, driver.store_code, driver.compile

--- The friends of a find are no row, no list and not nil: most likely they were left out.
local function no_friends(kind_name, names, p)
  driver.raise("found.%s takes first what it rests on (a row, a list of rows, or nil), then %s; got %s first", kind_name,
    names, describe(p))
end

--- Copies the ids of a list of rows, or of all rows of a look-up.
local function many_friends(kind_name, p)
  local n = batch.friend_id_count
  local count = 0
  local function one(row)
    if type(row) ~= "cdata" then
      driver.raise("found.%s: a friend must be a row, a list of rows, or nil; got %s", kind_name, describe(row))
    end
    if n + count >= batch.friend_id_limit then
      driver.raise("more than %d friends in one batch", n + count)
    end
    ffi.copy(friend_ids + 16 * (n + count), row.raw_id, 16)
    count = count + 1
  end
  if type(p) == "table" and getmetatable(p) == nil then
    for i = 1, #p do
      one(p[i])
    end
  elseif type(p) == "table" or type(p) == "cdata" then
    for _, row in p:each() do
      one(row)
    end
  else
    one(p)
  end
  batch.friend_id_count = n + count
  return n, count
end

local function make_finder(lifecycle, kind)
  local names, params = {}, {}
  for i, field in ipairs(kind.fields) do
    names[i] = field.name
    params[i] = "v" .. i
  end
  local first = kind.fields[1]
  -- One row of a kind that the lifecycle sees is the common case; the rest goes the slow way.
  local row_types, tests = {}, {}
  row_types[lifecycle.on] = true
  for _, friend in ipairs(lifecycle.friends) do
    row_types[friend.kind] = true
  end
  local env = {}
  for name in pairs(row_types) do
    tests[#tests + 1] = ("istype(row_%s, p)"):format(name)
    env["row_" .. name] = kinds[name].row_type
  end
  local code = {
    "local function put(p, " .. table.concat(params, ", ") .. ")",
    "if batch.find_count >= batch.find_limit then full() end",
    "local t = type(p) if p ~= nil and t ~= 'cdata' and t ~= 'table' then no_friends(kind_name, field_names, p) end",
    "local n = find_rows.count",
    "if n >= find_rows.capacity then raise('more than ' .. n .. ' finds in one batch') end",
    "local o = rows[n] o.nulls = 0 o.event = slot.current",
  }
  for i, field in ipairs(kind.fields) do
    code[#code + 1] = store_code(kind.name, field, i - 1, "v" .. i)
  end
  code[#code + 1] = [[
  if p == nil then
    o.friend_count = 0
  else
    local at, count = batch.friend_id_count, 1
    if IS_ROW then
      if at >= batch.friend_id_limit then raise("more than " .. at .. " friends in one batch") end
      copy(friend_ids + 16 * at, p.raw_id, 16)
      batch.friend_id_count = at + 1
    else
      at, count = many_friends(kind_name, p)
    end
    o.friends_at, o.friend_count = at, count
  end
  find_rows.count = n + 1
  batch.find_count = batch.find_count + 1
  end]]
  -- A table of named fields is taken too, unless the only field is an array itself.
  local named = {}
  for i, name in ipairs(names) do
    named[i] = "t." .. name
  end
  if not (#kind.fields == 1 and first.is_array) then
    code[#code + 1] = ("return function(p, %s) if type(v1) == 'table' %s then local t = v1 check(t) return put(p, %s) end return put(p, %s) end")
      :format(table.concat(params, ", "), first.is_array and "and next(v1) ~= nil and v1[1] == nil and v2 == nil" or "", table.concat(named, ", "), table.concat(params, ", "))
  else
    code[#code + 1] = "return put"
  end
  local text = table.concat(code, "\n"):gsub("IS_ROW", function() return table.concat(tests, " or ") end)
  driver.store_env(env)
  local checks = 1000
  local more = {
    batch = batch, slot = slot, rows = kind.finds, find_rows = kind.find_rows, full = function() host.full() end,
    tonumber = tonumber, friend_ids = friend_ids, many_friends = many_friends, kind_name = kind.name,
    no_friends = no_friends, field_names = table.concat(names, ", "),
    next = next,
    check = function(t)
      if checks <= 0 then
        return
      end
      checks = checks - 1
      for k in pairs(t) do
        if not kind.by_name[k] then
          driver.raise("found.%s has no field %q%s", kind.name, tostring(k), driver.did_you_mean(k, kind.field_names))
        end
      end
      for _, field in ipairs(kind.fields) do
        if t[field.name] == nil and not field.is_nullable then
          driver.raise("found.%s: field %q is missing", kind.name, field.name)
        end
      end
    end,
  }
  jit.off(more.check) -- see driver_lookups.lua
  for k, v in pairs(more) do
    env[k] = v
  end
  return compile("found." .. kind.name, text, env)
end

local function make_found(lifecycle)
  local found = {}
  for _, name in ipairs(lifecycle.finds) do
    found[name] = make_finder(lifecycle, kinds[name])
  end
  return setmetatable(found, {
    __index = function(_, name)
      if kinds[name] then
        driver.raise("lifecycle %s finds %s without saying so: add it to finds", lifecycle.name, name)
      end
      driver.raise("no kind %q%s", tostring(name), driver.did_you_mean(name, lifecycle.finds))
    end,
  })
end

driver.make_found = make_found
