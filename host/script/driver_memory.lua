--- The batch's memory as Lua sees it: pointers, the heap, arrays in it.
local driver = ...

local ffi = require("ffi")

local host = driver.host
local C = ffi.C
local istype, i64 = ffi.istype, ffi.typeof("int64_t")
local WHOLE = 2 ^ 53

driver.OUTCOME = { NONE = 0, READY = 1, EARLY = 2, LATE = 3, EMPTY = 4, FOUND = 5, FAILED = 6 }
driver.PHASE_LUA = 5

local heap = ffi.cast("struct acc_heap *", host.heap)
local base = heap.base

driver.batch = ffi.cast("struct acc_batch *", host.batch)
driver.slot = ffi.cast("struct acc_slot *", host.slot)
driver.base = base
driver.outcomes = ffi.cast("uint8_t *", host.outcomes)
driver.handles = ffi.cast("struct acc_handle *", host.handles)
driver.index = ffi.cast("uint32_t *", host.index)
driver.friend_ids = ffi.cast("uint8_t *", host.friend_ids)

--- Offset of n fresh bytes, aligned to 8.
local function alloc(n)
  local used = tonumber(heap.used)
  local at = used + (-used % 8)
  if at + n > tonumber(heap["end"]) then
    error("texts of one batch exceed 3 GiB", 0)
  end
  heap.used = at + n
  return at
end

local function describe(value)
  if type(value) == "string" then
    return ("%q"):format(#value > 60 and value:sub(1, 60) .. "…" or value)
  end
  return type(value) == "cdata" and tostring(ffi.typeof(value)) or tostring(value)
end

--- Raises with the file and line of the app's code that is at fault, however deep in ours it is noticed.
local function raise(message, ...)
  if select("#", ...) > 0 then
    message = message:format(...)
  end
  for level = 2, 30 do
    local info = debug.getinfo(level, "Sl")
    if not info then
      break
    end
    local source = info.source
    if info.currentline > 0 and source:sub(1, 1) == "@" and not source:find("^@host/") and not source:find("^@lua/accrete/") then
      error(("%s:%d: %s"):format(info.short_src, info.currentline, message), 0)
    end
  end
  error(message, 0)
end
driver.raise = raise

--- `, did you mean "NEAR"?`, or "".
function driver.did_you_mean(name, names)
  local near = host.suggest(tostring(name), names)
  return near and (", did you mean %q?"):format(near) or ""
end

--- Raises for a value that does not fit.
local function bad(kind, field, wanted, got)
  local list = type(got) == "table" and "a table" or describe(got)
  raise("%s.%s: wanted %s, got %s", kind, field, wanted, list)
end

local function element_words(type_name)
  return type_name == "int8" or type_name == "float8" or type_name == "bool"
end

--- Writes a Lua list as an array into the heap; returns offset and bytes.
local function write_array(kind, field, type_name, list)
  if type(list) ~= "table" then
    bad(kind, field, type_name .. "[] as a list", list)
  end
  local n, size = #list, 8
  if type_name == "json" then
    local canonical = {}
    for i = 1, n do
      canonical[i] = driver.json_text(kind, field .. "[" .. i .. "]", list[i])
    end
    list = canonical
  end
  if element_words(type_name) then
    size = 8 + 8 * n
  else
    for i = 1, n do
      if type(list[i]) ~= "string" then
        bad(kind, field .. "[" .. i .. "]", type_name, list[i])
      end
      size = size + 4 + #list[i]
    end
  end
  local at = alloc(size)
  local to = base + at
  ffi.cast("uint32_t *", to)[0], ffi.cast("uint32_t *", to)[1] = n, 0
  to = to + 8
  for i = 1, n do
    local v = list[i]
    if type_name == "int8" then
      local p = ffi.cast("int64_t *", to)
      if type(v) == "number" and v >= -WHOLE and v <= WHOLE and v % 1 == 0 or istype(i64, v) then
        p[0] = v
      else
        bad(kind, field .. "[" .. i .. "]", "a whole number", v)
      end
      to = to + 8
    elseif type_name == "float8" then
      if type(v) ~= "number" then
        bad(kind, field .. "[" .. i .. "]", "a number", v)
      end
      ffi.cast("double *", to)[0] = v
      to = to + 8
    elseif type_name == "bool" then
      if type(v) ~= "boolean" then
        bad(kind, field .. "[" .. i .. "]", "a boolean", v)
      end
      ffi.cast("int64_t *", to)[0] = v and 1 or 0
      to = to + 8
    else
      if type_name == "text" and C.acc_text_ok(v, #v) == 0 then
        bad(kind, field .. "[" .. i .. "]", "UTF-8 text without NUL", v)
      elseif type_name == "uuid" and #v ~= 16 then
        bad(kind, field .. "[" .. i .. "]", "16 bytes", v)
      end
      ffi.cast("uint32_t *", to)[0] = #v
      ffi.copy(to + 4, v, #v)
      to = to + 4 + #v
    end
  end
  return at, size
end

--- An array in the heap as a Lua list.
local function read_array(type_name, span)
  local from = base + span.at
  local n = ffi.cast("const uint32_t *", from)[0]
  local list = {}
  from = from + 8
  for i = 1, n do
    if type_name == "int8" then
      local v = ffi.cast("const int64_t *", from)[0]
      local d = tonumber(v)
      list[i] = (d >= WHOLE or d <= -WHOLE) and v or d -- at the bound the number may have been rounded
      from = from + 8
    elseif type_name == "float8" then
      list[i] = ffi.cast("const double *", from)[0]
      from = from + 8
    elseif type_name == "bool" then
      list[i] = ffi.cast("const int64_t *", from)[0] ~= 0
      from = from + 8
    else
      local size = ffi.cast("const uint32_t *", from)[0]
      list[i] = ffi.string(from + 4, size)
      from = from + 4 + size
    end
  end
  return list
end

driver.alloc, driver.describe, driver.bad = alloc, describe, bad
driver.write_array, driver.read_array = write_array, read_array
