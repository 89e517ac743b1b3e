--- Code that stores Lua values into rows and reads them back, made per kind.
local driver = ...

local ffi = require("ffi")

local host = driver.host
local bad = driver.bad

--- C type of a field's slot.
local function slot_type(field)
  if field.is_array or field.type == "text" or field.type == "bytes" or field.type == "json" or field.type == "uuid" then
    return "struct acc_span"
  end
  return field.type == "float8" and "double" or "int64_t"
end

local function row_cdef(name, fields, const)
  local out = { ("typedef struct { %suint8_t raw_id[16]; %suint64_t nulls; %suint32_t event, friends_at, friend_count, flags;"):format(const, const, const) }
  for _, field in ipairs(fields) do
    out[#out + 1] = ("%s%s f_%s;"):format(const, slot_type(field), field.name)
  end
  out[#out + 1] = ("} %s;"):format(name)
  return table.concat(out, " ")
end

--- Lines that store the Lua value `v` into field `f` of row `o`; errors name kind and field.
local function store_code(kind, field, number, v)
  local where = ("%q, %q"):format(kind, field.name)
  local code
  if field.is_array then
    code = ("local at, size = write_array(%s, %q, %s) o.f_%s.at, o.f_%s.size = at, size"):format(where, field.type, v, field.name, field.name)
  elseif field.type == "int8" then
    code = ([[if type(V) == "number" then
      if V > 9007199254740992 or V < -9007199254740992 or V %% 1 ~= 0 then bad(W, "a whole number within 2^53, or int64 cdata", V) end
      o.F = V
    elseif istype(i64, V) then o.F = V else bad(W, "a whole number", V) end]]):gsub("%%%%", "%%")
  elseif field.type == "float8" then
    code = [[if type(V) ~= "number" then bad(W, "a number", V) end ]] .. (field.is_unique and [[if V ~= V then bad(W, "a number (NaN cannot be unique)", V) end ]] or "") .. "o.F = V"
  elseif field.type == "bool" then
    code = [[if type(V) ~= "boolean" then bad(W, "a boolean", V) end o.F = V and 1 or 0]]
  else
    local check = ""
    if field.type == "text" then
      check = [[if C.acc_text_ok(V, #V) == 0 then bad(W, "UTF-8 text without NUL", V) end]]
    elseif field.type == "uuid" then
      check = [[if #V ~= 16 then bad(W, "16 bytes", V) end]]
    elseif field.type == "json" then
      check = [[V = json_text(W, V)]]
    end
    code = [[if type(V) ~= "string" then bad(W, "TYPE", V) end CHECK
      local at = alloc(#V) copy(base + at, V, #V) o.F.at, o.F.size = at, #V]]
    code = code:gsub("CHECK", function() return check end):gsub("TYPE", field.type == "text" and "a text" or "a string of bytes")
  end
  code = code:gsub("%f[%w_]V%f[^%w_]", v):gsub("%f[%w_]W%f[^%w_]", function() return where end):gsub("o%.F%f[^%w_]", "o.f_" .. field.name)
  if field.is_nullable then
    return ("if %s == nil then o.nulls = o.nulls + %dULL else %s end"):format(v, 2 ^ number, code)
  end
  return ("do %s end"):format(code)
end

local function json_text(kind, field, text)
  if type(text) ~= "string" then
    bad(kind, field, "a JSON text", text)
  end
  local canonical, reason = host.json(text)
  if not canonical then
    bad(kind, field, "JSON text (" .. tostring(reason) .. ")", text)
  end
  return canonical
end

local function compile(name, text, env)
  local names, values = {}, {}
  for k, v in pairs(env) do
    names[#names + 1] = k
    values[#names] = v
  end
  local chunk, reason = loadstring(("local %s = ...\n%s"):format(table.concat(names, ", "), text), "=" .. name)
  if not chunk then
    error(("generated code of %s: %s\n%s"):format(name, reason, text))
  end
  return chunk(unpack(values, 1, #names))
end

--- The reader of fields of a row: row.from, row._id.
local function getter(kind)
  local out = { "return function(r, k)" }
  for i, field in ipairs(kind.fields) do
    local read
    local f = "r.f_" .. field.name
    if field.is_array then
      read = ("return read_array(%q, %s)"):format(field.type, f)
    elseif field.type == "int8" then
      read = ("local d = tonumber(%s) if d >= 9007199254740992 or d <= -9007199254740992 then return %s end return d"):format(f, f)
    elseif field.type == "float8" then
      read = "return " .. f
    elseif field.type == "bool" then
      read = ("return %s ~= 0"):format(f)
    else
      read = ("return str(base + %s.at, %s.size)"):format(f, f)
    end
    if field.is_nullable then
      read = ("if band(r.nulls, %dULL) ~= 0 then return nil end %s"):format(2 ^ (i - 1), read)
    end
    out[#out + 1] = ("%s k == %q then %s"):format(i == 1 and "if" or "elseif", field.name, read)
  end
  out[#out + 1] = [[elseif k == "_id" then return str(r.raw_id, 16) end no_field(k) end]]
  return compile(kind.name .. " row", table.concat(out, "\n"), {
    base = driver.base, str = ffi.string, band = require("bit").band, read_array = driver.read_array,
    no_field = function(k)
      driver.raise("%s has no field %q%s", kind.name, tostring(k), driver.did_you_mean(k, kind.field_names))
    end,
  })
end

driver.row_cdef, driver.store_code, driver.json_text = row_cdef, store_code, json_text
driver.compile, driver.getter = compile, getter
