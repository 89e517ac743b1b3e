--- Look-ups: db.KIND:where{…} writes keys; the host fetches those of the whole batch at once.
local driver = ...

local ffi = require("ffi")

local host, kinds, batch, slot, handles = driver.host, driver.kinds, driver.batch, driver.slot, driver.handles
local describe, store_code, compile, row_cdef = driver.describe, driver.store_code, driver.compile, driver.row_cdef

local friends_fix = host.part("friends_fix")
local any_mt, has_mt = {}, {}

--- db.any{1, 2}: any of these values.
local function any(list)
  if type(list) ~= "table" then
    driver.raise("%s", "db.any: wanted a list, got " .. describe(list))
  end
  return setmetatable({ list = list }, any_mt)
end

--- db.has(x): an array that holds x; db.has{x, y} or db.has(db.any{x, y}): that holds one of these.
local function has(value)
  if getmetatable(value) == any_mt then
    value = value.list
  end
  return setmetatable({ list = type(value) == "table" and value or { value } }, has_mt)
end

--- What generated code that stores values needs.
local function store_env(env)
  env.C, env.istype, env.i64 = ffi.C, ffi.istype, ffi.typeof("int64_t")
  env.alloc, env.base, env.copy, env.bad = driver.alloc, driver.base, ffi.copy, driver.bad
  env.write_array, env.json_text, env.type, env.raise = driver.write_array, driver.json_text, type, driver.raise
  return env
end

local function undeclared(lifecycle, kind, t)
  local names = {}
  for k in pairs(t) do
    names[#names + 1] = tostring(k)
    if not kind.by_name[k] then
      driver.raise("%s has no field %q%s", kind.name, tostring(k), driver.did_you_mean(k, kind.field_names))
    end
  end
  table.sort(names)
  driver.raise("look-up of %s by {%s} is not declared in lifecycle %s: %s", kind.name, table.concat(names, ", "),
    lifecycle.name, friends_fix(lifecycle.friends, kind.name, names))
end

--- Adds one key with the values of the shape's fields; returns nothing.
local function key_writer(kind, shape, keys_info)
  local fields, code = {}, { "return function(handle, values)",
    "local n = keys.count if n >= keys.capacity then raise('more than ' .. n .. ' keys in one batch') end",
    "local o = rows[n] o.nulls = 0 o.event = handle" }
  for i, f in ipairs(shape.fields) do
    local field = kind.fields[f]
    local key_field = { name = field.name, type = field.type, is_array = field.is_array and not shape.has[i], is_nullable = false }
    fields[i] = key_field
    code[#code + 1] = ("local v%d = values[%d]"):format(i, i)
    code[#code + 1] = store_code(kind.name, key_field, i - 1, "v" .. i)
  end
  code[#code + 1] = "keys.count = n + 1 end"
  local ctype = ("acc_key_%s_%d"):format(kind.name, keys_info.number)
  ffi.cdef(row_cdef(ctype, fields, ""))
  return compile(kind.name .. " key", table.concat(code, "\n"), store_env({
    keys = ffi.cast("struct acc_rows *", keys_info.rows_struct), rows = ffi.cast(ctype .. " *", keys_info.base),
  }))
end

local function new_handle(shape)
  local h = batch.handle_count
  if h >= batch.handle_limit then
    driver.raise("more than %d look-ups in one batch", h)
  end
  local handle = handles[h]
  handle.loaded, handle.b, handle.e = 0, 0, 0
  handle.shape, handle.event = shape, slot.current
  batch.handle_count = h + 1
  return h, handle
end

--- Slow form: lists and has-markers, one key per combination.
local function look_up_lists(kind, shape, writer, keys, t)
  local lists = {}
  for i, f in ipairs(shape.fields) do
    local field, v = kind.fields[f], t[kind.fields[f].name]
    local mt = getmetatable(v)
    if shape.has[i] and mt ~= has_mt then
      driver.raise("%s.%s is an array: wanted db.has(value)", kind.name, field.name)
    elseif not shape.has[i] and mt == has_mt then
      driver.raise("%s.%s is no array: db.has does not fit", kind.name, field.name)
    end
    lists[i] = (mt == any_mt or mt == has_mt) and v.list or { v }
  end
  local h, handle = new_handle(0)
  handle.key_at = keys.count
  local values = {}
  local function product(i)
    if i > #lists then
      writer(h, values)
      return
    end
    for _, v in ipairs(lists[i]) do
      values[i] = v
      product(i + 1)
    end
  end
  product(1)
  handle.key_count = keys.count - handle.key_at
  if handle.key_count == 0 then
    handle.loaded = 1
  end
  return kind.handles[h]
end

--- Raises for a field the kind does not have. Counts down: call sites are few, so the first calls show a wrong one.
--- Not compiled: in this LuaJIT the compiler's way through pairs is young.
local function check_keys(lifecycle, kind, t, checks)
  checks.n = checks.n - 1
  for k in pairs(t) do
    if not kind.by_name[k] then
      undeclared(lifecycle, kind, t)
    end
  end
end
jit.off(check_keys)

--- The function behind db.KIND:where for one lifecycle: a test per declared shape, most fields first.
local function make_where(lifecycle, kind, shapes)
  table.sort(shapes, function(a, b) return #a.fields > #b.fields end)
  local env = store_env({
    undeclared = function(t) undeclared(lifecycle, kind, t) end,
    checks = { n = 1000 },
    kind = kind,
    handles = kind.handles,
    new_handle = new_handle,
    look_up_lists = look_up_lists,
  })
  local code = { "return function(_, t)" }
  env.check_keys = function(t) check_keys(lifecycle, kind, t, env.checks) end
  code[#code + 1] = "if checks.n > 0 then check_keys(t) end local given = 0"
  for _, field in ipairs(kind.fields) do
    code[#code + 1] = ("if t.%s ~= nil then given = given + 1 end"):format(field.name)
  end
  for s, shape in ipairs(shapes) do
    if #shape.fields == 0 then
      env["mirror" .. s] = driver.make_mirror(kind)
      code[#code + 1] = ("if given == 0 then return mirror%d() end"):format(s)
    else
      local tests, locals = {}, {}
      local simple = true
      for i, f in ipairs(shape.fields) do
        locals[#locals + 1] = ("local v%d = t.%s"):format(i, kind.fields[f].name)
        tests[#tests + 1] = ("v%d ~= nil"):format(i)
        simple = simple and not shape.has[i]
      end
      env["shape" .. s] = shape
      env["writer" .. s] = key_writer(kind, shape, shape.keys)
      env["keys" .. s] = ffi.cast("struct acc_rows *", shape.keys.rows_struct)
      env["rows" .. s] = ffi.cast(("acc_key_%s_%d *"):format(kind.name, shape.keys.number), shape.keys.base)
      code[#code + 1] = ("if given == %d then %s if %s then"):format(#shape.fields, table.concat(locals, " "), table.concat(tests, " and "))
      if simple then
        local tables = {}
        for i in ipairs(shape.fields) do
          tables[i] = ("type(v%d) == 'table'"):format(i)
        end
        code[#code + 1] = ("if %s then return look_up_lists(kind, shape%d, writer%d, keys%d, t) end"):format(table.concat(tables, " or "), s, s, s)
        code[#code + 1] = ("local n = keys%d.count if n >= keys%d.capacity then raise('more than ' .. n .. ' keys in one batch') end"):format(s, s)
        code[#code + 1] = ("local o = rows%d[n] o.nulls = 0"):format(s)
        for i, f in ipairs(shape.fields) do
          local field = kind.fields[f]
          code[#code + 1] = store_code(kind.name, { name = field.name, type = field.type, is_array = field.is_array }, i - 1, "v" .. i)
        end
        code[#code + 1] = ("local h, handle = new_handle(0) handle.key_at, handle.key_count = n, 1 o.event = h keys%d.count = n + 1 return handles[h]"):format(s)
      else
        code[#code + 1] = ("return look_up_lists(kind, shape%d, writer%d, keys%d, t)"):format(s, s, s)
      end
      code[#code + 1] = "end end"
    end
  end
  code[#code + 1] = "return undeclared(t) end"
  return compile(kind.name .. " where", table.concat(code, "\n"), env)
end

local function make_db(lifecycle)
  local db = { any = any, has = has }
  local by_kind = {}
  for _, friend in ipairs(lifecycle.friends) do
    by_kind[friend.kind] = by_kind[friend.kind] or {}
    table.insert(by_kind[friend.kind], friend)
  end
  for name, shapes in pairs(by_kind) do
    local kind = kinds[name]
    local where = make_where(lifecycle, kind, shapes)
    db[name] = { where = where }
    --- The fact with these unique fields: rows with one or none.
    db[name].get = where
  end
  --- Rows of a read-only SQL query, in the batch's snapshot.
  function db.query(_, sql, ...)
    return host.query(sql, ...)
  end
  return setmetatable(db, {
    __index = function(_, name)
      local names = {}
      for k in pairs(by_kind) do
        names[#names + 1] = k
      end
      if kinds[name] then
        driver.raise("look-ups of %s are not declared in lifecycle %s: %s", name, lifecycle.name,
          friends_fix(lifecycle.friends, name))
      end
      driver.raise("no kind %q%s", tostring(name), driver.did_you_mean(name, names))
    end,
  })
end

driver.make_db, driver.store_env = make_db, store_env
